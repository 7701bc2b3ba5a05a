//! Where the files lie that a challenge's file names, and what it may name at all.

use std::path::{Component, Path, PathBuf};

use crate::{ids::ChallengeId, problem::Problem};

/// The folders that paths are looked up in.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// In this order.
    roots: Vec<PathBuf>,
    /// Whether paths may not lead out of them.
    confined: bool,
}

impl Source {
    /// Nothing lies beside the file.
    pub fn none() -> Source {
        Source { roots: Vec::new(), confined: true }
    }

    /// Of whoever has the shell: paths are relative to `folder`, and may lead anywhere.
    pub fn shell(folder: &Path) -> Source {
        Source { roots: vec![folder.to_owned()], confined: false }
    }

    /// Of an upload: nothing outside these folders, whatever the path says and links lead to.
    pub fn confined(roots: impl IntoIterator<Item = PathBuf>) -> Source {
        Source { roots: roots.into_iter().collect(), confined: true }
    }

    /// The file or folder that `path` names. Codes: `file_not_found`, `path_outside`.
    pub fn find(&self, path: &Path) -> Result<PathBuf, Problem> {
        let shown = path.display().to_string();
        let plain = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if self.confined && !plain {
            let problem = Problem::new("path_outside", "the path leads out of the folder of the file").at(shown);
            return Err(problem.hint("Name files by where they lie beside the challenge's file."));
        }
        for root in &self.roots {
            let Ok(found) = root.join(path).canonicalize() else { continue };
            let inside = root.canonicalize().is_ok_and(|root| found.starts_with(root));
            if !self.confined || inside {
                return Ok(found);
            }
        }
        Err(Problem::new("file_not_found", "there is no such file or folder").at(shown))
    }
}

/// Which challenges, and which challenges' datasets, a file may name.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Of whoever runs the server.
    All,
    /// Of organizers of some challenges: those, and no new one. Hidden images of others are none of theirs.
    Only(Vec<ChallengeId>),
}

impl Reach {
    pub fn covers(&self, challenge: ChallengeId) -> bool {
        match self {
            Reach::All => true,
            Reach::Only(own) => own.contains(&challenge),
        }
    }
}
