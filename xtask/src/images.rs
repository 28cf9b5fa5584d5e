//! `cargo xtask images`: the container images, each a static binary and nothing else.
//!
//! Called by a person and by `e2e`; builds the programs for the explicit target that a static glibc needs, and one image of each.
//! An image that outgrows its limit is an error: every pod of a cluster pays for it.

mod archive;

use std::{env::consts::ARCH, fs, path::PathBuf};

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

/// Packages that the images' programs are built from, besides [`INIT`].
const PACKAGES: [&str; 3] = ["injector", "agent", "e2e"];

/// The program that every pod loads, which has a profile and a file capability of its own.
const INIT: &str = "istio-init";

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
        limit: MEGABYTE,
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
        if image.programs.contains(&INIT) {
            archive::check_capability(&name)?;
        }
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

/// What the image of this name sets in its programs' environment.
pub(crate) fn environment(name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let recipe = project::root().join(format!("images/{name}.Dockerfile"));
    let recipe =
        fs::read_to_string(&recipe).with_context(|| format!("cannot read {}", recipe.display()))?;
    let words = recipe.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = words.flat_map(str::split_whitespace);
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Builds `istio-init` as it is in the images and returns the program.
pub(crate) fn build_init() -> anyhow::Result<PathBuf> {
    Ok(compile("init", &[INIT])?.join(INIT))
}

/// Builds the programs that run pods on one machine as they are in the images, and returns their folder.
pub(crate) fn build_pods() -> anyhow::Result<PathBuf> {
    compile("release", &project::PROGRAMS)
}

/// The programs as static binaries.
struct Programs {
    folder: PathBuf,
    init: PathBuf,
}

fn build_static() -> anyhow::Result<Programs> {
    Ok(Programs {
        init: build_init()?,
        folder: compile("release", &PACKAGES)?,
    })
}

/// Builds packages by a profile and returns the folder of their programs.
fn compile(profile: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let target = format!("{ARCH}-unknown-linux-gnu");
    let mut command = project::cargo();
    command
        .args(["build", "--locked", "--bins"])
        .args(["--profile", profile, "--target", &target])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    for package in packages {
        command.args(["--package", package]);
    }
    project::run(&mut command)?;
    Ok(project::target_folder()?.join(target).join(profile))
}

// === impl Programs ===

impl Programs {
    fn file(&self, name: &str) -> PathBuf {
        match name {
            INIT => self.init.clone(),
            _ => self.folder.join(name),
        }
    }
}

// === impl Image ===

impl Image {
    fn build(&self, name: &str, programs: &Programs) -> anyhow::Result<()> {
        let context = tempfile::tempdir().context("cannot make a temporary folder")?;
        let files = self.programs.iter();
        let files = files.map(|program| (*program, programs.file(program)));
        let files: Vec<(&str, PathBuf)> = files.collect();
        archive::write(&context.path().join("rootfs.tar"), &files, self.links)
            .context("cannot write the image's files")?;
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
