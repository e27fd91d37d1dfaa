//! Where it is written down how far a move got. A move that does no harm twice needs none.

use std::io;

use super::letter::Identity;

pub trait Journal: Send {
    /// A letter is about to be sent.
    fn sent(&mut self, identity: Identity) -> io::Result<()>;
    /// It is confirmed.
    fn moved(&mut self, identity: Identity) -> io::Result<()>;
    /// Whether the first letters are well, so that nobody tries them anew. It is no more so when later ones died again.
    fn canary_passed(&mut self, passed: bool) -> io::Result<()>;
    /// Called before anything is sent that was noted.
    fn write_out(&mut self) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

/// A move that needs no journal, because it does no harm twice.
pub struct Unwritten;

impl Journal for Unwritten {
    fn sent(&mut self, _: Identity) -> io::Result<()> {
        Ok(())
    }

    fn moved(&mut self, _: Identity) -> io::Result<()> {
        Ok(())
    }

    fn canary_passed(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
