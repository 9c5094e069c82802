#version 330 core
// Draws the look (look.glsl) on its own, for a mount that scales it.
#include "colour.glsl"
#include "look.glsl"
in vec2 v_uv;
out vec4 o_light;

void main() {
    vec3 light = look_light(v_uv, ivec2(gl_FragCoord.xy));
    o_light = vec4(light, 1.0);
}
