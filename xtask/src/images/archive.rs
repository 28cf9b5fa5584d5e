//! The files of an image as an archive, which says of a file what no copy of it can: its capability.
//!
//! Called by [`images`](super). Setting a file capability takes root; writing down that a file has one does not, and the engine's builder sets it when it
//! unpacks the archive. Whether it did is read back from the layer.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::INIT;
use crate::docker;

/// Where programs lie.
const FOLDER: &str = "usr/local/bin";

/// The name under which archives carry the extended attribute `security.capability`.
const CAPABILITY: &str = "SCHILY.xattr.security.capability";

/// CAP_NET_ADMIN, permitted and not effective: `struct vfs_cap_data` of revision 2 (`linux/capability.h`), little endian. Its flag for the effective set
/// is off, because with it the program would not start where the capability is not to be had.
const NET_ADMIN_PERMITTED: [u8; 20] = [
    0, 0, 0, 2, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Writes programs and links to them.
pub(super) fn write(
    archive: &Path,
    programs: &[(&str, PathBuf)],
    links: &[(&str, &str)],
) -> anyhow::Result<()> {
    let file =
        File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut builder = Builder::new(file);
    for (position, _) in FOLDER.match_indices('/').chain([(FOLDER.len(), "")]) {
        let folder = FOLDER.get(..position).unwrap_or(FOLDER);
        let mut header = header(EntryType::Directory, 0);
        builder.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
    }
    for (name, program) in programs {
        let mut file = File::open(program)
            .with_context(|| format!("cannot open the program {}", program.display()))?;
        if *name == INIT {
            builder.append_pax_extensions([(CAPABILITY, &NET_ADMIN_PERMITTED[..])])?;
        }
        let mut header = header(EntryType::Regular, file.metadata()?.len());
        builder.append_data(&mut header, format!("{FOLDER}/{name}"), &mut file)?;
    }
    for (link, program) in links {
        let mut header = header(EntryType::Symlink, 0);
        builder.append_link(&mut header, format!("{FOLDER}/{link}"), program)?;
    }
    builder.finish()?;
    Ok(())
}

/// Reads the capability of `istio-init` back from the layers of an image.
pub(super) fn check_capability(image: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let saved = folder.path().join("image.tar");
    docker::save(image, &saved)?;
    let found = capability(File::open(&saved)?)?;
    ensure!(
        found.as_deref() == Some(&NET_ADMIN_PERMITTED[..]),
        "in image {image} the program {INIT} has the file capability {found:?}, not NET_ADMIN permitted: does the engine's storage keep extended attributes?"
    );
    Ok(())
}

/// The capability of `istio-init` in an archive of archives.
fn capability(mut image: File) -> anyhow::Result<Option<Vec<u8>>> {
    let mut layers = Vec::new();
    for entry in Archive::new(&mut image).entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        // Engines name their layers differently, and keep other files beside them.
        let is_layer = name.ends_with("layer.tar") || name.starts_with("blobs/");
        if is_layer && entry.header().entry_type() == EntryType::Regular {
            layers.push((entry.raw_file_position(), entry.size()));
        }
    }
    for (position, size) in layers {
        image.seek(SeekFrom::Start(position))?;
        let mut layer = Archive::new((&mut image).take(size));
        let Ok(entries) = layer.entries() else {
            continue;
        };
        // What is no archive has no entry that can be read.
        for mut entry in entries.map_while(Result::ok) {
            if entry.path()?.ends_with(format!("{FOLDER}/{INIT}")) {
                return attribute(&mut entry);
            }
        }
    }
    Ok(None)
}

fn attribute(entry: &mut Entry<'_, impl Read>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(None);
    };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == CAPABILITY.as_bytes() {
            return Ok(Some(extension.value_bytes().to_vec()));
        }
    }
    Ok(None)
}

/// Root's, executable by all, and the same whenever it is built.
fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_says_that_istio_init_is_permitted_net_admin_and_no_other_program_is() {
        let folder = tempfile::tempdir().expect("there is room");
        let program = folder.path().join("program");
        std::fs::write(&program, "program").expect("there is room");
        let (layer, image) = (
            folder.path().join("layer.tar"),
            folder.path().join("image.tar"),
        );
        let save = |name: &str| {
            write(
                &layer,
                &[("other", program.clone()), (name, program.clone())],
                &[("link", name)],
            )
            .expect("there is room");
            let mut builder = Builder::new(File::create(&image).expect("there is room"));
            builder
                .append_path_with_name(&layer, "0123/layer.tar")
                .expect("there is room");
            builder
                .append_path_with_name(&program, "blobs/sha256/4567")
                .expect("there is room");
            builder.finish().expect("there is room");
            capability(File::open(&image).expect("it was written")).expect("it can be read")
        };
        assert_eq!(save(INIT), Some(NET_ADMIN_PERMITTED.to_vec()));
        assert_eq!(save("agent"), None);
    }
}
