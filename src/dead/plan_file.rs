//! A replay on disk: which letters it is for, and what became of each. A line is written before a letter is sent and after
//! it is confirmed, so that whoever goes on after a crash knows what may have been sent twice, and sends nothing twice that
//! was confirmed. The file is locked as long as somebody works on it.
//!
//! ```text
//! {"Version":3,"Id":"…","Broker":"amqp://…","Account":null,"Letters":2,"Ids":150}
//! letter 5f0c… 1        one message of this identity is part of the plan
//! planned               these were all
//! sent 5f0c…            it is about to be published
//! moved 5f0c…           its publication is confirmed
//! canary passed         the first letters did not die again
//! canary died           later ones did: whoever goes on begins with the first few again
//! ```

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::journal::Journal;
use super::letter::Identity;
use super::tally::Tally;
use super::whole_file::WholeFile;
use crate::contract::AccountName;

const VERSION: u32 = 3;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Head {
    version: u32,
    /// Names the watcher of the canary.
    pub id: Uuid,
    /// Its place: a plan is for one broker.
    pub broker: String,
    pub account: Option<AccountName>,
    pub letters: u64,
    pub ids: u64,
}

impl Head {
    pub fn new(broker: String, account: Option<AccountName>, letters: u64, ids: u64) -> Self {
        Self { version: VERSION, id: Uuid::now_v7(), broker, account, letters, ids }
    }
}

/// Why there is no plan file. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    #[error("an unfinished replay is in {}: go on with --resume {}, or delete the file to forget it", .0.display(), .0.display())]
    Exists(PathBuf),
    #[error("{} is being carried out by another process: wait until it ends, or stop it and go on with --resume", .0.display())]
    InUse(PathBuf),
    #[error("there is no plan {}: it is carried out, or lies in another folder or pod", .0.display())]
    Missing(PathBuf),
    #[error("{}: {problem}", path.display())]
    Io { path: PathBuf, problem: std::io::Error },
    #[error("{}:{line}: {problem}: this is no plan of a replay, or it was damaged", path.display())]
    Damaged { path: PathBuf, line: usize, problem: String },
}

/// An open plan file.
#[derive(Debug)]
pub struct PlanFile {
    path: PathBuf,
    file: BufWriter<File>,
}

/// What a plan file says.
#[derive(Debug)]
pub struct Resumed {
    pub head: Head,
    pub tally: Tally,
    pub canary_passed: bool,
}

impl PlanFile {
    /// Writes a new one. One that is there is somebody's unfinished replay.
    pub fn create(path: &Path, head: &Head, letters: &HashMap<Identity, u32>) -> Result<Self, PlanFileError> {
        let io = |problem| PlanFileError::Io { path: path.to_owned(), problem };
        let write = || {
            let mut file = WholeFile::begin(path)?;
            // Under its own name it is never seen unlocked.
            file.file().lock()?;
            writeln!(file, "{}", serde_json::to_string(head)?)?;
            for (identity, count) in letters {
                writeln!(file, "letter {identity} {count}")?;
            }
            writeln!(file, "planned")?;
            file.finish()
        };
        let file = write().map_err(|refused: std::io::Error| match refused.kind() {
            ErrorKind::AlreadyExists => Self::refuse_existing(path).err().unwrap_or(io(refused)),
            _ => io(refused),
        })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Whether a new one can be written here, before anybody waits for what is to stand in it.
    pub fn check_place(path: &Path) -> Result<(), PlanFileError> {
        Self::refuse_existing(path)?;
        WholeFile::begin(path).map(drop).map_err(|problem| PlanFileError::Io { path: path.to_owned(), problem })
    }

    /// An error if a plan is there already, which says whether somebody works on it.
    fn refuse_existing(path: &Path) -> Result<(), PlanFileError> {
        match File::open(path) {
            Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(()),
            Err(problem) => Err(PlanFileError::Io { path: path.to_owned(), problem }),
            Ok(file) => match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => Err(PlanFileError::InUse(path.to_owned())),
                Ok(()) | Err(TryLockError::Error(_)) => Err(PlanFileError::Exists(path.to_owned())),
            },
        }
    }

    /// Reads one, to go on with it.
    pub fn open(path: &Path) -> Result<(Self, Resumed), PlanFileError> {
        let io = |problem| PlanFileError::Io { path: path.to_owned(), problem };
        let missing = || PlanFileError::Missing(path.to_owned());
        let mut file =
            OpenOptions::new().read(true).append(true).open(path).map_err(|problem| match problem.kind() {
                ErrorKind::NotFound => missing(),
                _ => io(problem),
            })?;
        file.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => PlanFileError::InUse(path.to_owned()),
            TryLockError::Error(problem) => io(problem),
        })?;
        // Whoever held it a moment ago has carried it out.
        if file.metadata().map_err(io)?.nlink() == 0 {
            return Err(missing());
        }
        let (resumed, whole) = read(BufReader::new(&mut file), path)?;
        // A crash may have left half a line at the end.
        file.set_len(whole).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok((Self { path: path.to_owned(), file: BufWriter::new(file) }, resumed))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The replay is complete.
    pub fn remove(self) -> std::io::Result<()> {
        // Before it is unlocked: nobody goes on with what is done.
        std::fs::remove_file(self.path)
    }
}

impl Journal for PlanFile {
    fn sent(&mut self, identity: Identity) -> std::io::Result<()> {
        writeln!(self.file, "sent {identity}")
    }

    fn moved(&mut self, identity: Identity) -> std::io::Result<()> {
        writeln!(self.file, "moved {identity}")
    }

    fn canary_passed(&mut self, passed: bool) -> std::io::Result<()> {
        writeln!(self.file, "canary {}", if passed { "passed" } else { "died" })
    }

    /// What is written out survives the end of this process, however it ends.
    fn write_out(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

/// Also says how many bytes are whole lines.
fn read(mut file: impl BufRead, path: &Path) -> Result<(Resumed, u64), PlanFileError> {
    let damaged = |line: usize, problem: &str| PlanFileError::Damaged {
        path: path.to_owned(),
        line,
        problem: problem.to_owned(),
    };
    let io = |problem| PlanFileError::Io { path: path.to_owned(), problem };
    let mut text = String::new();
    let mut whole = file.read_line(&mut text).map_err(io)? as u64;
    let head: Head = serde_json::from_str(&text).map_err(|error| damaged(1, &error.to_string()))?;
    if head.version != VERSION {
        return Err(damaged(1, &format!("its version is {}, this program's {VERSION}", head.version)));
    }
    let mut resumed = Resumed { head, tally: Tally::default(), canary_passed: false };
    let mut planned = false;
    for number in 2.. {
        text.clear();
        let bytes = file.read_line(&mut text).map_err(io)?;
        if bytes == 0 || !text.ends_with('\n') {
            if !planned {
                return Err(damaged(number, "its list of letters does not end"));
            }
            break;
        }
        whole += bytes as u64;
        let line = entry(text.trim_end())
            .ok_or_else(|| damaged(number, &format!("{:?} is no line of it", text.trim_end())))?;
        let unknown = || damaged(number, "it speaks of a letter that is not part of the plan");
        match line {
            Entry::Letter(identity, count) => resumed.tally.plan(identity, count),
            Entry::Sent(identity) | Entry::Moved(identity) if !resumed.tally.has(identity) => return Err(unknown()),
            Entry::Sent(identity) => resumed.tally.doubt(identity),
            Entry::Moved(identity) => resumed.tally.moved(identity),
            Entry::Planned => planned = true,
            Entry::Canary { passed } => resumed.canary_passed = passed,
        }
    }
    // Whoever wrote it is gone, with the connection that its acknowledgements went through.
    resumed.tally.session_lost();
    Ok((resumed, whole))
}

enum Entry {
    Letter(Identity, u32),
    Sent(Identity),
    Moved(Identity),
    Planned,
    Canary { passed: bool },
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let entry = match words.next()? {
        "letter" => Entry::Letter(Identity::parse(words.next()?)?, words.next()?.parse().ok()?),
        "sent" => Entry::Sent(Identity::parse(words.next()?)?),
        "moved" => Entry::Moved(Identity::parse(words.next()?)?),
        "planned" => Entry::Planned,
        "canary" => match words.next()? {
            "passed" => Entry::Canary { passed: true },
            "died" => Entry::Canary { passed: false },
            _ => return None,
        },
        _ => return None,
    };
    words.next().is_none().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Message;

    fn identity(name: &str) -> Identity {
        Identity::of(&Message { body: name.as_bytes().to_vec(), ..Message::default() })
    }

    fn head() -> Head {
        Head::new("sqlite:jobs.db".to_owned(), None, 3, 7)
    }

    #[test]
    fn what_was_written_until_a_crash_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replay.plan");
        let letters = [(identity("a"), 1), (identity("b"), 2), (identity("c"), 1)].into();
        let head = head();
        let mut file = PlanFile::create(&path, &head, &letters).unwrap();
        for name in ["a", "b", "c"] {
            file.sent(identity(name)).unwrap();
        }
        file.moved(identity("a")).unwrap();
        file.moved(identity("b")).unwrap();
        file.canary_passed(true).unwrap();
        drop(file);
        let written = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&written[..], b"moved 5f0c"].concat()).unwrap();

        let (mut file, resumed) = PlanFile::open(&path).unwrap();
        assert_eq!((resumed.head, resumed.canary_passed), (head, true));
        let mut tally = resumed.tally;
        assert_eq!((tally.left(), tally.left_in_doubt(), tally.awaits_returns()), (2, 1, true));
        assert_eq!(["a", "b", "c"].map(|name| tally.take(identity(name))), [false, true, true]);
        assert_eq!(["a", "b", "c"].map(|name| tally.take_returned(identity(name))), [true, true, false]);
        // Sent again, and confirmed this time.
        file.sent(identity("c")).unwrap();
        file.moved(identity("c")).unwrap();
        file.canary_passed(false).unwrap();
        drop(file);
        let (_, resumed) = PlanFile::open(&path).unwrap();
        assert!(!resumed.canary_passed, "later letters died again");
        assert_eq!((resumed.tally.left(), resumed.tally.left_in_doubt()), (1, 0), "the half line is gone");
    }

    #[test]
    fn a_plan_is_for_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replay.plan");
        let in_use = |refused: Option<PlanFileError>| matches!(refused, Some(PlanFileError::InUse(_)));
        let held = PlanFile::create(&path, &head(), &HashMap::new()).unwrap();
        assert!(in_use(PlanFile::open(&path).err()) && in_use(PlanFile::refuse_existing(&path).err()));
        assert!(in_use(PlanFile::create(&path, &head(), &HashMap::new()).err()));
        drop(held);
        let held = PlanFile::open(&path).unwrap();
        assert!(in_use(PlanFile::open(&path).err()));
        drop(held);
        assert!(matches!(PlanFile::refuse_existing(&path), Err(PlanFileError::Exists(_))));
        PlanFile::open(&path).unwrap().0.remove().unwrap();
        assert!(PlanFile::refuse_existing(&path).is_ok());
    }

    #[test]
    fn an_unfinished_replay_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replay.plan");
        PlanFile::create(&path, &head(), &HashMap::new()).unwrap();
        let refused = PlanFile::create(&path, &head(), &HashMap::new()).unwrap_err();
        assert!(matches!(refused, PlanFileError::Exists(_)) && refused.to_string().contains("--resume"), "{refused}");
        PlanFile::open(&path).unwrap().0.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_plan_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replay.plan");
        let head = serde_json::to_string(&head()).unwrap();
        let some = identity("a");
        for (text, line) in [
            (String::new(), ":1:"),
            ("{}\n".to_owned(), ":1:"),
            (head.replace("\"Version\":3", "\"Version\":2") + "\n", ":1:"),
            (format!("{head}\nletter\n"), ":2:"),
            (format!("{head}\nletter xyz 1\n"), ":2:"),
            (format!("{head}\nletter {some} 1 1\n"), ":2:"),
            (format!("{head}\nletter {some} 1\ndone {some}\n"), ":3:"),
            (format!("{head}\nmoved {some}\n"), ":2:"),
            (format!("{head}\ncanary\n"), ":2:"),
            (head.clone(), ":2:"),
            (format!("{head}\nletter {some} 1\nlett"), ":3:"),
            (format!("{head}\nletter {some} 1\n"), ":3:"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let refused = PlanFile::open(&path).unwrap_err().to_string();
            assert!(refused.contains(line) && refused.contains("replay.plan"), "{text:?}: {refused}");
        }
    }
}
