//! How much may be asked. The names of the fields are those of the configuration, behind `dns_`.

/// The limits of one tree, unless they say something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a name, as it is written.
    pub name_bytes: usize,
    /// Labels of a name. A reverse name of IPv6 has 34.
    pub labels: usize,
    /// Questions in a second.
    pub rate: usize,
    /// Different names below one zone (its last two labels) in an hour.
    pub zone_names: usize,
    /// Different names in an hour, whatever zone they are in.
    pub names: usize,
    /// Questions of one connection by TCP that may wait for their answers.
    pub pending: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            name_bytes: 128,
            labels: 40,
            rate: 200,
            zone_names: 1000,
            names: 10_000,
            pending: 64,
        }
    }
}
