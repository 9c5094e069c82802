#version 330 core
// The mount: the look, scaled on to the wall, as 8-bit code values with dither. Never part of a recording.
// AREA 0: one bilinear sample, 1: the mean of u_taps x u_taps over the output pixel, for a picture made smaller.
#include "colour.glsl"
uniform sampler2D u_tex0;       // the look, linear light
uniform sampler2D u_noise;      // rgb: triangular -1..1; 64 x 64, tiled
uniform vec2 u_resolution;      // output size, px
uniform float u_time;           // show time, s, wrapped every hour
uniform vec2 u_uv_per_x;        // v_uv over one output pixel across
uniform vec2 u_uv_per_y;        // and up
uniform int u_taps;             // AREA: samples a side and output pixel
uniform float u_dither;         // 1 on, 0 off
in vec2 v_uv;
out vec4 o_code;

void main() {
#if AREA
    vec3 light = vec3(0.0);
    float across = 1.0 / float(u_taps);
    for (int y = 0; y < u_taps; ++y) {
        for (int x = 0; x < u_taps; ++x) {
            vec2 at = (vec2(x, y) + 0.5) * across - 0.5;
            light += texture(u_tex0, v_uv + at.x * u_uv_per_x + at.y * u_uv_per_y).rgb;
        }
    }
    vec3 code = code_from_light(light * (across * across));
#else
    vec3 code = code_from_light(texture(u_tex0, v_uv).rgb);
#endif
    // Still noise: it does not change with time, so nothing crawls on a panel that dithers again.
    code += texelFetch(u_noise, ivec2(gl_FragCoord.xy) & 63, 0).rgb * (u_dither / 255.0);
    o_code = vec4(code, 1.0);
}
