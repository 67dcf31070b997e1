//! What the guest's checks prove of the ways out that BPF LSM closes, beside what the doctor says there.
use super::guest::Checked;
use serde_json::Value;

/// The rows of the design's table, and the checks (`seal.sh`) that try them: outside of governed trees,
/// where each goes through, and inside.
pub(crate) const PROOFS: &[(u8, &str)] = &[
    (5, "seal-families"),
    (6, "seal-families"),
    (7, "seal-families"),
    (8, "seal-families"),
    (22, "seal-devices"),
    (24, "seal-bpf"),
    (24, "seal-rules"),
    (25, "seal-descriptors"),
    (28, "seal-trace"),
    (29, "seal-unix"),
    (30, "seal-unix"),
    (30, "seal-guard"),
    (31, "seal-unix"),
    (32, "seal-unix"),
    (33, "seal-unix"),
    (34, "seal-trace"),
    (37, "seal-bpf"),
    (37, "seal-pins"),
    (38, "seal-code"),
    (39, "seal-mounts"),
    (54, "seal-helpers"),
    (62, "seal-guard"),
    (69, "seal-rings"),
];

/// A row of the doctor's in the guest, and what tried it there.
pub(crate) struct Sealed {
    pub(crate) row: u8,
    pub(crate) way: String,
    pub(crate) closed: bool,
    pub(crate) reason: String,
    /// The checks, and whether each passed.
    pub(crate) checks: Vec<(&'static str, bool)>,
}

impl Sealed {
    /// What is wrong with it, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let row = self.row;
        if let Some((check, _)) = self.checks.iter().find(|(_, passed)| !passed) {
            return Some(format!("row {row}: {check} failed in the guest"));
        }
        match (self.closed, self.checks.is_empty()) {
            (true, true) => Some(format!(
                "row {row}: nothing in the guest shows that it is closed"
            )),
            (false, false) => Some(format!("row {row}: the doctor calls it open in the guest")),
            _ => None,
        }
    }
}

/// The rows that the tier seal closes: those that something tries, and those that the doctor says are
/// closed in that tier.
pub(super) fn rows(doctor: &[Value], checks: &[Checked]) -> Vec<Sealed> {
    let sealed = doctor.iter().filter_map(|object| {
        let row = u8::try_from(object["row"].as_u64()?).ok()?;
        let proofs = PROOFS.iter().filter(|(of, _)| *of == row);
        let checks: Vec<(&str, bool)> = proofs
            .map(|(_, check)| (*check, has_passed(checks, check)))
            .collect();
        let closed = object["result"] == "closed";
        let is_sealed = !checks.is_empty() || closed && object["tier"] != "attest";
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        is_sealed.then(|| Sealed {
            row,
            way: text("way"),
            closed,
            reason: text("reason"),
            checks,
        })
    });
    sealed.collect()
}

fn has_passed(checks: &[Checked], name: &str) -> bool {
    let mut found = checks.iter().filter(|check| check.name == name);
    found.next().is_some_and(|check| check.passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(row: u8, tier: &str, result: &str, passed: Option<bool>) -> Vec<String> {
        let doctor =
            [json!({"row": row, "tier": tier, "result": result, "way": "w", "reason": "r"})];
        let checks = passed.map(|passed| Checked {
            name: "seal-rings".to_owned(),
            passed,
            seconds: 1.0,
            said: String::new(),
        });
        let rows = rows(&doctor, checks.as_slice());
        rows.iter().filter_map(Sealed::fault).collect()
    }

    #[test]
    fn what_the_guest_calls_closed_has_to_be_shown_there() {
        assert!(faults(69, "seal", "closed", Some(true)).is_empty());
        assert_eq!(faults(69, "seal", "closed", Some(false)).len(), 1);
        assert_eq!(
            faults(69, "seal", "closed", None).len(),
            1,
            "it was not tried"
        );
        assert_eq!(faults(69, "seal", "open", Some(true)).len(), 1);
        assert_eq!(
            faults(70, "seal", "closed", None).len(),
            1,
            "nothing tries it"
        );
        assert!(faults(70, "seal", "open", None).is_empty());
        assert!(
            faults(3, "attest", "closed", None).is_empty(),
            "not by the tier seal"
        );
    }
}
