//! A file that is there whole or not at all, whenever this process ends. It is written beside its place, under a name of its
//! own that ends in `.part`, and takes its name when every byte of it is on the disk. What has that name already stays.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// As any program creates files: the user's umask narrows it.
const USUAL: u32 = 0o666;

pub struct WholeFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl WholeFile {
    /// Refuses a name that is taken before anything is written.
    pub fn begin(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(taken());
        }
        let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it names no file"))?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(USUAL));
        Ok(Self { path: path.to_owned(), file: BufWriter::new(builder.tempfile_in(folder(path))?) })
    }

    /// The file itself, to lock it before anybody can see it.
    pub fn file(&self) -> &File {
        self.file.get_ref().as_file()
    }

    /// Gives it its name, unless another one has taken that meanwhile.
    pub fn finish(self) -> io::Result<File> {
        let written = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        written.as_file().sync_all()?;
        let file = written.persist_noclobber(&self.path).map_err(|refused| match refused.error.kind() {
            ErrorKind::AlreadyExists => taken(),
            _ => refused.error,
        })?;
        // The name is on the disk when its folder is.
        File::open(folder(&self.path))?.sync_all()?;
        Ok(file)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn taken() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "it is there already, and is not written over: name another file")
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letters.jsonl");
        let mut file = WholeFile::begin(&path).unwrap();
        file.write_all(&[b'x'; 100_000]).unwrap();
        let [begun] = &names(directory.path())[..] else { panic!("one file is being written") };
        assert!(begun.starts_with("letters.jsonl.") && begun.ends_with(".part"), "{begun}");
        file.finish().unwrap();
        assert_eq!(
            (names(directory.path()), std::fs::metadata(&path).unwrap().len()),
            (vec!["letters.jsonl".to_owned()], 100_000)
        );

        // What fails midway leaves nothing.
        let other = directory.path().join("other.jsonl");
        let mut file = WholeFile::begin(&other).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(names(directory.path()), ["letters.jsonl"]);
    }

    #[test]
    fn what_has_the_name_already_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letters.jsonl");
        let late = WholeFile::begin(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        for refused in [WholeFile::begin(&path).err(), late.finish().err()] {
            assert!(refused.is_some_and(|error| error.kind() == ErrorKind::AlreadyExists));
        }
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), names(directory.path()).len()), ("mine", 1));
        assert!(WholeFile::begin(Path::new("/")).is_err());
    }
}
