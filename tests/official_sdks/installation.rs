//! The official SDKs, from their registries into a folder of this build's own, once for each set of pinned versions. It
//! must not know what they are asked.
//!
//! Needs Python with its `venv`, Node and npm, and a network the first time; `tests/run` installs what is missing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::program::Program;

/// For a slow registry.
const PATIENCE: Duration = Duration::from_secs(600);

/// Written last: what is installed beside it.
const STAMP: &str = "installed";

/// An interpreter of Python that knows both SDKs.
pub async fn python() -> PathBuf {
    let folder = installed("python", &["requirements.txt"], async |folder: &Path| {
        run("python3", [OsStr::new("-m"), "venv".as_ref(), folder.as_ref()]).await;
        // Everything is pinned, so nothing else may come along.
        let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"].map(OsStr::new);
        let requirements = folder.join("requirements.txt");
        run(folder.join("bin/python"), install.into_iter().chain([requirements.as_ref()])).await;
    });
    folder.await.join("bin/python")
}

/// The folder where Node finds its SDK.
pub async fn node() -> PathBuf {
    let folder = installed("node", &["package.json", "package-lock.json"], async |folder: &Path| {
        // The one script that a package brings would only fetch the types of Node 10 and 12.
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"].map(OsStr::new);
        run("npm", install.into_iter().chain([folder.as_ref()])).await;
    });
    folder.await.join("node_modules")
}

/// The folder of a language, with what these files pin. One test installs it, others of any process wait for that.
async fn installed(language: &str, pins: &[&str], install: impl AsyncFnOnce(&Path)) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("official-sdks");
    fs::create_dir_all(&all).expect("a folder for the SDKs");
    let lock = File::create(all.join(language).with_extension("lock")).expect("a file to lock");
    lock.lock().expect("a lock on a local file");

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official_sdks").join(language);
    let read = |pin: &&str| fs::read_to_string(source.join(pin)).expect("a committed file");
    let wanted: String = pins.iter().map(read).collect();
    let folder = all.join(language);
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("an old folder goes");
    }
    fs::create_dir(&folder).expect("an empty folder");
    for pin in pins {
        fs::copy(source.join(pin), folder.join(pin)).expect("a copy of the pins");
    }
    install(&folder).await;
    fs::write(folder.join(STAMP), wanted).expect("a stamp");
    folder
}

async fn run(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = &OsStr>) {
    let mut command = Command::new(program.as_ref());
    command.args(arguments);
    let ended = Program::spawn(command, "").ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{} failed:\n{}{}", program.as_ref().display(), ended.output, ended.errors);
}
