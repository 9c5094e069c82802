#version 330 core
// One triangle that covers the viewport. No vertex buffer: the corners come from gl_VertexID.
// v_uv is 0..1 over the picture, origin top left.
uniform vec2 u_uv_origin;  // at the viewport's lower left corner
uniform vec2 u_uv_across;  // over the viewport's width
uniform vec2 u_uv_up;      // over the viewport's height
out vec2 v_uv;

void main() {
    vec2 p = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    v_uv = u_uv_origin + p.x * u_uv_across + p.y * u_uv_up;
    gl_Position = vec4(p * 2.0 - 1.0, 0.0, 1.0);
}
