//! Holds `src/generated` to the `.proto` files that it is made of.
//!
//! `cargo xtask codegen` writes what this test would otherwise only compare.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{collections::BTreeMap, env, fs, path::Path};

const CONTRACT: [&str; 6] = [
    "envoy/discovery.proto",
    "istio/authorization.proto",
    "istio/ca.proto",
    "istio/workload.proto",
    "minimesh/discovery.proto",
    "spiffe/workload.proto",
];

#[test]
fn generated_code_is_that_of_the_proto_files() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("src/generated");
    let scratch = tempfile::tempdir().unwrap();
    generate(&package.join("proto"), scratch.path());
    let (generated, committed) = (read(scratch.path()), read(&folder));
    if generated == committed {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a convention of golden files")]
    let update = env::var_os("UPDATE_EXPECT").is_some();
    assert!(
        update,
        "src/generated differs from the .proto files, run `cargo xtask codegen`"
    );
    for name in committed.keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, text) in generated {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn generate(proto: &Path, out: &Path) {
    let descriptors = protox::compile(CONTRACT, [proto]).unwrap();
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.type_name_domain(["."], "type.googleapis.com");
    config.btree_map(["."]);
    config.bytes(["."]);
    config.extern_path(".google.protobuf.Any", "crate::Any");
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out)
        .include_file("packages.rs")
        .compile_fds_with_config(descriptors, config)
        .unwrap();
}

fn read(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}
