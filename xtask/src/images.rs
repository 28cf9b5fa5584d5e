//! `cargo xtask images`: the container images, each a static binary and nothing else.
//!
//! Called by a person and by `e2e`; builds the programs for the explicit target that a static glibc needs, and one image of each.
//! An image that outgrows its limit is an error: every pod of a cluster pays for it.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{docker, project};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Repository prefix of the images.
    #[arg(long, value_name = "HUB", default_value = HUB)]
    hub: String,
    /// Tag of the images; the workspace's version unless given.
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

/// One image.
struct Image {
    /// Its name, that of its Dockerfile in `images/`, and of its first program.
    name: &'static str,
    /// What lies in `/usr/local/bin`.
    programs: &'static [&'static str],
    /// Names by which programs are called besides their own: link, program.
    links: &'static [(&'static str, &'static str)],
    /// Most bytes it may have, compressed.
    limit: u64,
}

pub(crate) const HUB: &str = "minimesh";

/// Packages that the images' programs are built from.
const PACKAGES: [&str; 4] = ["injector", "istio-init", "agent", "e2e"];

const MEGABYTE: u64 = 1_000_000;

const IMAGES: [Image; 4] = [
    Image {
        name: "injector",
        programs: &["injector"],
        links: &[],
        limit: 12 * MEGABYTE,
    },
    Image {
        name: "istio-init",
        programs: &["istio-init"],
        links: &[],
        limit: 2 * MEGABYTE,
    },
    Image {
        name: "agent",
        programs: &["agent", "istio-init"],
        links: &[("pilot-agent", "agent")],
        limit: 12 * MEGABYTE,
    },
    Image {
        name: "test-server",
        programs: &["test-server"],
        links: &[],
        limit: 12 * MEGABYTE,
    },
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    for (name, size) in build(&args.hub, &args.tag)? {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a size for people, far below 2^52"
        )]
        let megabytes = size as f64 / MEGABYTE as f64;
        println!("{name}  {megabytes:.1} MB compressed");
    }
    Ok(())
}

/// Builds all images and returns their names and compressed sizes.
pub(crate) fn build(hub: &str, tag: &str) -> anyhow::Result<Vec<(String, u64)>> {
    docker::need_engine()?;
    let programs = build_static()?;
    let mut built = Vec::new();
    for image in &IMAGES {
        let name = format!("{hub}/{}:{tag}", image.name);
        image
            .build(&name, &programs)
            .with_context(|| format!("cannot build image {name}"))?;
        let size = docker::compressed_size(&name)?;
        ensure!(
            size <= image.limit,
            "image {name} has {size} bytes compressed and may have {}: find what made it grow",
            image.limit
        );
        built.push((name, size));
    }
    Ok(built)
}

/// Builds the programs as static binaries and returns their folder.
fn build_static() -> anyhow::Result<PathBuf> {
    let target = format!("{ARCH}-unknown-linux-gnu");
    let mut command = project::cargo();
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--target",
            &target,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    project::run(&mut command)?;
    Ok(project::target_folder()?.join(target).join("release"))
}

// === impl Image ===

impl Image {
    fn build(&self, name: &str, programs: &Path) -> anyhow::Result<()> {
        let context = tempfile::tempdir().context("cannot make a temporary folder")?;
        let folder = context.path().join("rootfs/usr/local/bin");
        fs::create_dir_all(&folder).context("cannot make the image's folders")?;
        for program in self.programs {
            fs::copy(programs.join(program), folder.join(program))
                .with_context(|| format!("cannot copy the program {program}"))?;
        }
        for (link, program) in self.links {
            symlink(program, folder.join(link)).with_context(|| format!("cannot link {link}"))?;
        }
        let recipe = project::root().join(format!("images/{}.Dockerfile", self.name));
        fs::copy(&recipe, context.path().join("Dockerfile"))
            .with_context(|| format!("cannot copy {}", recipe.display()))?;
        let version = format!(
            "org.opencontainers.image.version={}",
            env!("CARGO_PKG_VERSION")
        );
        docker::build(name, context.path(), &["--label", &version])
    }
}
