//! Values that are not shown by accident, and do not stay in memory after their use.
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A value that `Debug` does not show, and that is overwritten when it is dropped. There is no way
/// to it but [`Hidden::reveal`].
#[derive(Clone)]
pub struct Hidden<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Hidden<T> {
    /// Hides a value.
    #[must_use]
    pub fn new(value: T) -> Hidden<T> {
        Hidden(Zeroizing::new(value))
    }

    /// The value, for what has to have it.
    #[must_use]
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// For the sealed file alone: outside of this crate nothing hidden can be serialised.
pub(crate) fn serialize<T, S>(hidden: &Hidden<T>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Zeroize + Serialize,
    S: Serializer,
{
    hidden.0.serialize(serializer)
}

pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Hidden<T>, D::Error>
where
    T: Zeroize + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Hidden::new(T::deserialize(deserializer)?))
}
