// The look: crossfade of two frames and the grade. Reads sRGB textures (the sampler decodes).
// Drawn by look.frag, or by mount.frag in one pass with the mount: edit it here, and both follow.
// DISSOLVE 0: mix, 1: a soft dissolve through a blue-noise threshold.
// GRADE 0: gain only, 1: everything that is worked out on code values too.
uniform sampler2D u_tex0;       // frame a
uniform sampler2D u_tex1;       // frame b
uniform sampler2D u_noise;      // rgb: triangular -1..1, a: uniform 0..1; 64 x 64, tiled
uniform vec2 u_resolution;      // size of the look, px
uniform float u_time;           // show time, s, wrapped every hour
uniform float u_mix;            // 0 is a, 1 is b
uniform vec3 u_gain;            // brightness, tint and blackout, in linear light
uniform vec3 u_tint;            // the tint as factors of code values
uniform float u_contrast;
uniform float u_saturation;
uniform float u_gamma;
uniform vec3 u_lift;
uniform float u_grain;          // standard deviation, in code values
uniform float u_grain_seed;     // whole number, a new one 24 times a second
uniform float u_vignette;

const float DISSOLVE_SOFTNESS = 0.25;

float grain(ivec2 pixel) {
    // PCG hash, two rounds of which give a triangular value with standard deviation 1.
    uint h = uint(pixel.x) * 1664525u + uint(pixel.y) * 22695477u + uint(u_grain_seed) * 2891336453u;
    h = ((h >> ((h >> 28u) + 4u)) ^ h) * 277803737u;
    h ^= h >> 22u;
    return (float(h & 0xffffu) - float(h >> 16u)) * (2.449490 / 65536.0);
}

// In all of these, uv is 0..1 over the picture and pixel one of u_resolution, both with their origin top left.
// gl_FragCoord is another thing in each pass: do not use it here.

// Both frames as linear light, with gain.
vec3 blend(vec2 uv, ivec2 pixel) {
    vec3 a = texture(u_tex0, uv).rgb;
    vec3 b = texture(u_tex1, uv).rgb;
#if DISSOLVE
    float threshold = texelFetch(u_noise, pixel & 63, 0).a;
    float share = clamp((u_mix * (1.0 + DISSOLVE_SOFTNESS) - threshold) / DISSOLVE_SOFTNESS, 0.0, 1.0);
#else
    float share = u_mix;
#endif
    return mix(a, b, share) * u_gain;
}

// What the grade makes of a code value.
vec3 grade(vec3 c, vec2 uv, ivec2 pixel) {
    // Towards a grey that has the tint: a silver print keeps its tone.
    c = mix(u_tint * dot(c / u_tint, vec3(0.2126, 0.7152, 0.0722)), c, u_saturation);
    c = (c - 0.5) * u_contrast + 0.5;
    c = pow(max(c, vec3(0.0)), vec3(1.0 / u_gamma)) + u_lift;
    vec2 from_centre = (uv - 0.5) * 1.41421356;
    c *= 1.0 - u_vignette * smoothstep(0.25, 1.0, dot(from_centre, from_centre));
    c += u_grain * grain(pixel);
    return max(c, vec3(0.0));
}

// The look as code values for one pass with the mount, and as linear light for a mount that scales it.
vec3 look_code(vec2 uv, ivec2 pixel) {
    vec3 code = code_from_light(blend(uv, pixel));
#if GRADE
    code = grade(code, uv, pixel);
#endif
    return code;
}

vec3 look_light(vec2 uv, ivec2 pixel) {
#if GRADE
    return light_from_code(look_code(uv, pixel));
#else
    return blend(uv, pixel);
#endif
}
