#version 330 core
// The mount: the look on the wall, as 8-bit code values with dither. A recording has its fit and rotation, and the
// dither where the file has 8 bits.
// FUSED 1: the look lies on the wall pixel for pixel and is computed here, in one pass (DISSOLVE and GRADE as in
// look.glsl); 0: it was drawn before and is scaled. AREA 0: one bilinear sample, 1: the mean of u_taps x u_taps over
// the output pixel, 2: of 2 x 2, in half the time. What is added to main() works in all of them.
#include "colour.glsl"
#if FUSED
#include "look.glsl"
#else
#include "area.glsl"
uniform sampler2D u_tex0;       // the look, linear light
uniform sampler2D u_noise;      // rgb: triangular -1..1; 64 x 64, tiled
uniform vec2 u_resolution;      // size of the look, px
uniform float u_time;           // show time, s, wrapped every hour
#endif
uniform vec2 u_uv_per_x;        // v_uv over one output pixel across
uniform vec2 u_uv_per_y;        // and up
uniform int u_taps;             // AREA: samples a side and output pixel
uniform float u_dither;         // 1 on, 0 off
in vec2 v_uv;
out vec4 o_code;

vec3 code_at(vec2 uv) {
#if FUSED
    return look_code(uv, ivec2(uv * u_resolution));
#elif AREA
    return code_from_light(area_mean(u_tex0, uv, u_uv_per_x, u_uv_per_y, AREA == 2 ? 2 : u_taps));
#else
    return code_from_light(texture(u_tex0, uv).rgb);
#endif
}

void main() {
    vec3 code = code_at(v_uv);
    // Still noise: it does not change with time, so nothing crawls on a panel that dithers again.
    code += texelFetch(u_noise, ivec2(gl_FragCoord.xy) & 63, 0).rgb * (u_dither / 255.0);
    o_code = vec4(code, 1.0);
}
