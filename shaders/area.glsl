// The mean light of `image` over one pixel of the target, from taps x taps bilinear samples: for making it smaller.
// per_x, per_y: uv over one target pixel across and up.
vec3 area_mean(sampler2D image, vec2 uv, vec2 per_x, vec2 per_y, int taps) {
    vec3 light = vec3(0.0);
    float across = 1.0 / float(taps);
    for (int y = 0; y < taps; ++y) {
        for (int x = 0; x < taps; ++x) {
            vec2 at = (vec2(x, y) + 0.5) * across - 0.5;
            light += texture(image, uv + at.x * per_x + at.y * per_y).rgb;
        }
    }
    return light * (across * across);
}
