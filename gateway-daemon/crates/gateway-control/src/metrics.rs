//! What is counted, and its text in Prometheus' exposition format 0.0.4.
//!
//! Labels are protocols and verdicts only: never a user, a statement or an address.
use std::fmt::Write;

/// Upper bounds of the buckets, in seconds.
pub const BUCKETS_SECONDS: [f64; 12] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.1, 1.0, 10.0,
];

/// How long something took, in buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket of [`BUCKETS_SECONDS`], and last those above all.
    pub counts: [u64; BUCKETS_SECONDS.len() + 1],
    /// The sum of all, in seconds.
    pub sum_seconds: f64,
}

/// One moment's numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Live sessions.
    pub sessions_active: u64,
    /// Protocol, verdict, how many operations.
    pub operations: Vec<(&'static str, &'static str, u64)>,
    /// How long decisions took.
    pub policy: Histogram,
    /// How long the gateway kept operations.
    pub overhead: Histogram,
    /// How long it kept answers to cover or search values in them.
    pub masking: Histogram,
    /// Operations that wait for a human.
    pub approvals_pending: u64,
    /// Accepted connections without an entry.
    pub orphans: u64,
    /// Packets that only the backstop stopped.
    pub backstop_drops: u64,
    /// Packets of strangers that what governed processes listen on did not get.
    pub inbound_drops: u64,
    /// Events of the kernel that found no room.
    pub events_lost: u64,
    /// Records that could not be written.
    pub recording_failures: u64,
    /// Values that were covered in answers.
    pub masked_values: u64,
    /// Rows with a sensitive field in the clear, each as often as it has such fields.
    pub disclosed_rows: u64,
}

impl Metrics {
    /// The text that a scraper reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let pending = "Operations that wait for a human.";
        for (name, help, value) in [
            (
                "gateway_sessions_active",
                "Live sessions.",
                self.sessions_active,
            ),
            ("gateway_approvals_pending", pending, self.approvals_pending),
        ] {
            head(&mut text, name, "gauge", help);
            let _ = writeln!(text, "{name} {value}");
        }
        head(
            &mut text,
            "gateway_operations_total",
            "counter",
            "Operations by verdict.",
        );
        for (protocol, verdict, count) in &self.operations {
            let _ = writeln!(
                text,
                "gateway_operations_total{{protocol=\"{}\",verdict=\"{}\"}} {count}",
                label(protocol),
                label(verdict)
            );
        }
        for (name, help, times) in [
            (
                "gateway_overhead_seconds",
                "Time from the arrival of operations to their clearance.",
                &self.overhead,
            ),
            (
                "gateway_policy_seconds",
                "Time of a decision by the rules.",
                &self.policy,
            ),
            (
                "gateway_mask_seconds",
                "Time for which bytes of an answer were kept to be searched and masked.",
                &self.masking,
            ),
        ] {
            histogram(&mut text, name, help, times);
        }
        for (name, help, value) in [
            (
                "gateway_capture_orphans_total",
                "Accepted connections without an entry; they were reset.",
                self.orphans,
            ),
            (
                "gateway_capture_backstop_drops_total",
                "Packets of governed tasks that only the backstop stopped.",
                self.backstop_drops,
            ),
            (
                "gateway_capture_inbound_drops_total",
                "Packets to what governed tasks listen on, from outside of their trees.",
                self.inbound_drops,
            ),
            (
                "gateway_events_lost_total",
                "Kernel events that found no room.",
                self.events_lost,
            ),
            (
                "gateway_recording_failures_total",
                "Records that could not be written; what they told of was refused.",
                self.recording_failures,
            ),
            (
                "gateway_masked_values_total",
                "Values of answers that were covered.",
                self.masked_values,
            ),
            (
                "gateway_disclosed_rows_total",
                "Sensitive fields in rows of answers that were returned in the clear.",
                self.disclosed_rows,
            ),
        ] {
            head(&mut text, name, "counter", help);
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histogram(text: &mut String, name: &str, help: &str, histogram: &Histogram) {
    head(text, name, "histogram", help);
    let mut total: u64 = 0;
    let bounds = BUCKETS_SECONDS
        .iter()
        .map(ToString::to_string)
        .chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.counts) {
        total = total.saturating_add(count);
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(
        text,
        "{name}_sum {}\n{name}_count {total}",
        histogram.sum_seconds
    );
}

/// Backslash, quote and line feed are the three that the format escapes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_a_scraper_reads() {
        let mut metrics = Metrics {
            sessions_active: 3,
            operations: vec![("postgres", "allow", 7), ("a\"b\\c\nd", "deny", 1)],
            orphans: 2,
            masked_values: 6,
            disclosed_rows: 5,
            ..Metrics::default()
        };
        metrics.masking.counts[1] = 2;
        metrics.policy.counts[0] = 4;
        metrics.policy.counts[12] = 1;
        metrics.policy.sum_seconds = 12.5;
        let text = metrics.to_text();
        for line in [
            "# TYPE gateway_sessions_active gauge",
            "gateway_sessions_active 3",
            "gateway_operations_total{protocol=\"postgres\",verdict=\"allow\"} 7",
            "gateway_operations_total{protocol=\"a\\\"b\\\\c\\nd\",verdict=\"deny\"} 1",
            "gateway_policy_seconds_bucket{le=\"0.000001\"} 4",
            "gateway_policy_seconds_bucket{le=\"10\"} 4",
            "gateway_policy_seconds_bucket{le=\"+Inf\"} 5",
            "gateway_policy_seconds_sum 12.5",
            "gateway_policy_seconds_count 5",
            "gateway_overhead_seconds_count 0",
            "gateway_mask_seconds_bucket{le=\"0.000005\"} 2",
            "gateway_approvals_pending 0",
            "gateway_capture_orphans_total 2",
            "gateway_capture_backstop_drops_total 0",
            "gateway_capture_inbound_drops_total 0",
            "gateway_events_lost_total 0",
            "gateway_recording_failures_total 0",
            "# TYPE gateway_masked_values_total counter",
            "gateway_masked_values_total 6",
            "gateway_disclosed_rows_total 5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
