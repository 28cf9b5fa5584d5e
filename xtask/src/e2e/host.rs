//! Images that other projects publish, or their stand-ins of Debian's packages.
//!
//! Called by `setup` and `node`. A stand-in has this machine's package sources and trust store, so that building on it reaches what the
//! machine itself reaches.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{docker, project};

/// Debian with nothing installed, of this machine's release, made here.
pub(crate) const BASE_IMAGE: &str = "minimesh/debian";
/// The tests' web server, as pods name it.
pub(crate) const NGINX_IMAGE: &str = "nginx:stable";

/// Where Debian keeps its package sources, newest form first.
const SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
];
const TRUST_STORE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Makes sure of [`BASE_IMAGE`].
pub(crate) fn base_image() -> anyhow::Result<()> {
    if docker::has_image(BASE_IMAGE) {
        return Ok(());
    }
    println!("image {BASE_IMAGE}");
    if project::find_program("debootstrap").is_none() {
        apt_install(&["debootstrap"])?;
    }
    let sources = SOURCES
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .context("this is no Debian: it has no package sources in /etc/apt")?;
    let (mirror, suite) = (mirror(sources)?, suite()?);
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let root = folder.path().join("root");
    project::run(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=ca-certificates", &suite])
            .arg(&root)
            .arg(&mirror)
            .stdout(Stdio::null()),
    )?;
    let sources_inside = root.join("etc/apt/sources.list");
    drop(fs::remove_file(&sources_inside));
    let to = root.join(sources.strip_prefix("/").unwrap_or(sources));
    fs::copy(sources, to).context("cannot copy the package sources")?;
    fs::copy(Path::new("/").join(TRUST_STORE), root.join(TRUST_STORE))
        .context("cannot copy the trust store")?;
    project::run(Command::new("find").args([
        root.join("var/cache/apt/archives").as_os_str(),
        root.join("var/lib/apt/lists").as_os_str(),
        "-type".as_ref(),
        "f".as_ref(),
        "-delete".as_ref(),
    ]))?;
    docker::import(BASE_IMAGE, &root, &["CMD [\"bash\"]"])
}

/// Makes sure of [`NGINX_IMAGE`]: the published one, else one of Debian's package.
pub(crate) fn nginx_image() -> anyhow::Result<()> {
    if docker::has_image(NGINX_IMAGE) || docker::pull(NGINX_IMAGE) {
        return Ok(());
    }
    base_image()?;
    println!("image {NGINX_IMAGE}");
    build_on_debian(NGINX_IMAGE, &project::root().join("e2e/kind/nginx"), &[])
}

/// Builds `tag` of the Dockerfile in `context` on top of [`BASE_IMAGE`]; `arguments` are `NAME=VALUE`.
pub(crate) fn build_on_debian(tag: &str, context: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let base = format!("BASE={BASE_IMAGE}");
    let mut args = vec!["--network=host", "--build-arg", &base];
    for argument in arguments {
        args.extend(["--build-arg", argument]);
    }
    docker::build(tag, context, &args)
}

/// Installs what is missing of programs, each with the Debian package that brings it, as root.
pub(crate) fn install_missing(tools: &[(&str, &'static str)]) -> anyhow::Result<()> {
    match project::missing_packages(tools).as_slice() {
        [] => Ok(()),
        packages => apt_install(packages),
    }
}

/// Installs packages of Debian.
pub(crate) fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    ensure!(
        project::find_program("apt-get").is_some(),
        "this is no Debian; install {} and run this again",
        packages.join(", ")
    );
    println!("installing {}", packages.join(", "));
    project::run(Command::new("apt-get").args(["update", "-qq"]))?;
    project::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .stdout(Stdio::null()),
    )
}

/// The code name of this machine's release of Debian.
fn suite() -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot tell which system this is")?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    ensure!(
        value("ID=") == Some("debian"),
        "images are made of Debian's packages, and this is no Debian; give a node image by --node-image"
    );
    let suite = value("VERSION_CODENAME=").context("/etc/os-release names no VERSION_CODENAME")?;
    Ok(suite.trim_matches('"').to_owned())
}

/// The first mirror of a file of package sources, in either of its two forms.
fn mirror(sources: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(sources)
        .with_context(|| format!("cannot read {}", sources.display()))?;
    first_mirror(&text).with_context(|| format!("{} names no mirror", sources.display()))
}

fn first_mirror(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        match words.next()? {
            "URIs:" => words.next(),
            "deb" => words.find(|word| word.contains("://")),
            _ => None,
        }
        .map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_forms() {
        let expected = Some("http://mirror.test/debian".to_owned());
        let table = [
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\n",
            "# deb http://old.test\ndeb http://mirror.test/debian bookworm main\n",
            "deb [signed-by=/k] http://mirror.test/debian bookworm main\n",
        ];
        for text in table {
            assert_eq!(first_mirror(text), expected, "{text}");
        }
        assert_eq!(first_mirror("# nothing\n"), None);
    }
}
