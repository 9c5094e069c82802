#version 330 core
// A picture in linear light as code values, at another size or the same: frames on their way into the history, and
// stills. No dither: this is what is kept, not what is shown.
// AREA 0: one sample, 1: the mean of u_taps x u_taps over the target's pixel, 2: of 2 x 2, in half the time.
#include "colour.glsl"
#include "area.glsl"
uniform sampler2D u_tex0;       // linear light, or sRGB that the sampler decodes
uniform vec2 u_uv_per_x;        // v_uv over one target pixel across
uniform vec2 u_uv_per_y;        // and up
uniform int u_taps;             // AREA: samples a side and target pixel
in vec2 v_uv;
out vec4 o_code;

void main() {
#if AREA
    vec3 light = area_mean(u_tex0, v_uv, u_uv_per_x, u_uv_per_y, AREA == 2 ? 2 : u_taps);
#else
    vec3 light = texture(u_tex0, v_uv).rgb;
#endif
    o_code = vec4(code_from_light(light), 1.0);
}
