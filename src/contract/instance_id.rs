//! One instance id. It must be impossible to build one that could smuggle a second id into a call.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest id taken, in bytes. Ids seen in the wild have 20 to 40.
const MAX_BYTES: usize = 128;

/// An instance id: 1 to 128 visible ASCII characters without a comma.
///
/// The API takes ids as one comma-separated string, so a comma would name a second instance; white space and control
/// characters are refused because a gateway may trim or fold them into another id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Arc<str>);

/// Why a text is no instance id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInstanceId {
    #[error("an instance id is empty: remove it")]
    Empty,
    #[error("the instance id {id:?} is longer than {MAX_BYTES} bytes: check what was pasted there")]
    TooLong { id: String },
    #[error("the instance id {id:?} holds a comma: write each id as an element of its own")]
    Comma { id: String },
    #[error(
        "the instance id {id:?} holds {found:?}: ids are visible ASCII characters, without white space or control characters"
    )]
    Character { id: String, found: char },
}

impl InstanceId {
    /// Checks and takes an id.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidInstanceId> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidInstanceId::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidInstanceId::TooLong { id: shortened(text) });
        }
        match text.chars().find(|c| *c == ',' || !c.is_ascii_graphic()) {
            None => Ok(Self(text.into())),
            Some(',') => Err(InvalidInstanceId::Comma { id: text.to_owned() }),
            Some(found) => Err(InvalidInstanceId::Character { id: text.to_owned(), found }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).chain("...".chars()).collect()
}

impl Borrow<str> for InstanceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for InstanceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_name_a_second_instance_is_refused() {
        let refused = [
            "",
            ",",
            "i-1,i-2",
            "i-1,",
            " i-1",
            "i-1 ",
            "i-1\n",
            "i 1",
            "i-\u{0}1",
            "i-\u{200b}1",
            "i-\u{a0}1",
            "实例",
            "i-1\t",
            "\u{feff}i-1",
            "i-\u{7f}",
        ];
        for text in refused {
            assert!(InstanceId::new(text).is_err(), "{text:?} was taken");
        }
        assert!(InstanceId::new("x".repeat(129)).is_err());
    }

    #[test]
    fn real_ids_are_taken_as_they_are() {
        for text in ["i-bp67acfmxazb4ph0000a", "rm-2zeabc", "cen-0_x.y:z", "x", &"x".repeat(128)] {
            assert_eq!(InstanceId::new(text).unwrap().as_str(), text);
        }
    }
}
