#version 330 core
// Text over the mount: code values with premultiplied alpha.
uniform sampler2D u_tex0;
in vec2 v_uv;
out vec4 o_code;

void main() {
    o_code = texture(u_tex0, v_uv);
}
