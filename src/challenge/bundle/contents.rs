//! What the zip of a bundle holds, by name: so that what is there, and is not what it should be, is not said to be missing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::problem::printable;

/// Files and folders, relative to the folder of `competition.yaml`.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Contents {
    /// Of the zip's names, each with whether it is a folder.
    pub fn new(names: Vec<(PathBuf, bool)>, root: &Path) -> Contents {
        let mut contents = Contents::default();
        for (name, is_folder) in names {
            let Ok(inner) = name.strip_prefix(root) else { continue };
            contents.folders.extend(inner.ancestors().skip(1).map(Path::to_owned));
            match is_folder {
                true => drop(contents.folders.insert(inner.to_owned())),
                false => contents.files.push(inner.to_owned()),
            }
        }
        contents
    }

    /// Why a path that was not unpacked gives nothing.
    pub fn why_not(&self, path: &Path) -> String {
        if self.folders.contains(path) {
            let inside: Vec<_> = self.files.iter().filter(|file| file.starts_with(path)).collect();
            let endings: BTreeSet<String> = inside
                .iter()
                .map(|file| {
                    file.extension()
                        .map_or("no ending".into(), |e| format!(".{}", e.to_string_lossy().to_ascii_lowercase()))
                })
                .collect();
            let endings: Vec<_> = endings.into_iter().take(5).map(|ending| printable(&ending)).collect();
            return match inside.len() {
                0 => "the folder is empty".into(),
                1 => format!("the folder has one file, which is no PNG ({})", endings.join(", ")),
                n => format!("the folder has {n} files and no PNG among them ({})", endings.join(", ")),
            };
        }
        let small = path.to_string_lossy().to_lowercase();
        let alike = self.files.iter().chain(&self.folders).find(|name| name.to_string_lossy().to_lowercase() == small);
        match alike {
            Some(alike) => format!("the bundle has no such file; it has `{}`", printable(&alike.to_string_lossy())),
            None => "the bundle has no such file".into(),
        }
    }
}
