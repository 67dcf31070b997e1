//! What it costs to look for everything in texts where nothing is, and in small ones.
//!
//! `cargo bench -p gateway-masking --bench find`
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway_core::Masker;
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use gateway_masking::{Cover, Key};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// As it stands in logs and tables: words, times, amounts.
const PROSE: &str =
    "The order of the 3rd was sent to the warehouse; nobody there had asked for it. ";
const LOG: &str = "2026-11-27T18:29:21.123Z INFO worker-7 job 48213 took 1532 ms, id=\
    5f0c6a1e-94b4-4c1e-8a3e-0d9e2c1b7a55 path=/v1/orders/991 status=200\n";

fn detectors(kinds: &[Detector]) -> Vec<(Detector, Sensitive)> {
    let mask = Arc::new(Mask {
        name: "personal-data".into(),
        with: Treatment::Redact,
        predicates: Predicates::Deny,
    });
    let sensitive = |detector: &Detector| {
        let mask = Arc::clone(&mask);
        (
            *detector,
            Sensitive {
                mask,
                covered: true,
            },
        )
    };
    kinds.iter().map(sensitive).collect()
}

fn run(criterion: &mut Criterion) {
    let cover = Cover::new(Key::from([7; 32]));
    let mut group = criterion.benchmark_group("masking");
    let texts = [
        ("prose", PROSE.repeat(800)),
        ("log", LOG.repeat(400)),
        ("cell", "Herbert Example, Main Street 12".to_owned()),
    ];
    let mut sets = vec![("all", Detector::ALL.to_vec())];
    sets.extend(Detector::ALL.map(|kind| (kind.name(), vec![kind])));
    for (kind, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        for (name, kinds) in &sets {
            let detectors = detectors(kinds);
            group.bench_function(format!("find {name} in {kind}"), |bencher| {
                bencher.iter(|| {
                    let mut found = 0;
                    cover.find(&detectors, black_box(text.as_bytes()), &mut |_, _| {
                        found += 1
                    });
                    found
                });
            });
        }
    }
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(64);
    for with in [Treatment::Redact, Treatment::Partial, Treatment::Hash] {
        group.bench_function(format!("cover {with:?}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                cover.cover(with, black_box(b"alice@example.com"), &mut out)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = run
}
criterion_main!(benches);
