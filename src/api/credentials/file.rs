//! Reads a small file, with a bound. It must not know what stands in it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::search::Miss;

/// Far beyond any file of profiles, or token.
const MAX_BYTES: u64 = 1024 * 1024;

/// Never waits: what is no regular file, such as a pipe, is refused.
pub fn read(file: &Path) -> Result<Vec<u8>, Miss> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Miss::Absent("there is no such file".to_owned()),
        _ => Miss::Broken(format!("can't read it: {error}")),
    };
    if !std::fs::metadata(file).map_err(failed)?.is_file() {
        return Err(Miss::Broken("is no regular file".to_owned()));
    }
    let mut text = Vec::new();
    File::open(file).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Miss::Broken(format!("is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}
