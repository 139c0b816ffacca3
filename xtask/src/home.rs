//! Where things are: the workspace, and the folder that keeps what runs and what was fetched.
//!
//! The folder is `.kafka/` in the workspace, or `OTTLA_KAFKA_DIR`: `libs/VERSION` (jars), `venv` (Python),
//! `peer-classes`, and one folder per cluster under `clusters/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Paths of the workspace and of the folder for clusters and downloads.
#[derive(Clone)]
pub(crate) struct Home {
    workspace: PathBuf,
    kafka: PathBuf,
}

impl Home {
    pub(crate) fn find() -> Outcome<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = here.parent().ok_or("xtask has no parent folder")?.to_path_buf();
        let kafka = match env::var_os("OTTLA_KAFKA_DIR") {
            Some(dir) => std::path::absolute(dir).map_err(|e| format!("OTTLA_KAFKA_DIR: {e}"))?,
            None => workspace.join(".kafka"),
        };
        fs::create_dir_all(&kafka).map_err(|e| format!("{}: {e}", kafka.display()))?;
        Ok(Self { workspace, kafka })
    }

    pub(crate) fn workspace(&self) -> &Path {
        &self.workspace
    }

    pub(crate) fn kafka(&self) -> &Path {
        &self.kafka
    }

    /// The jars of one Kafka release.
    pub(crate) fn libs(&self, version: &str) -> PathBuf {
        self.kafka.join("libs").join(version)
    }

    pub(crate) fn cluster(&self, name: &str) -> PathBuf {
        self.clusters().join(name)
    }

    pub(crate) fn clusters(&self) -> PathBuf {
        self.kafka.join("clusters")
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.kafka.join("venv")
    }

    pub(crate) fn peer_classes(&self) -> PathBuf {
        self.kafka.join("peer-classes")
    }

    /// A folder for something made in several steps; the caller renames it into place when it is whole.
    pub(crate) fn scratch(&self, what: &str) -> Outcome<PathBuf> {
        let dir = self.kafka.join("scratch").join(format!("{what}-{}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(dir)
    }
}
