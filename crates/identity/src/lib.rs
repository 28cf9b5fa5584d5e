//! Keys and certificates of the mesh.
