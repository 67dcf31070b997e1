//! Depth, memory and time have limits, whatever the processes do.
use super::*;
use crate::forest::Stats;
use crate::table::LINEAGE_MAX;
use gateway_core::Provenance;

fn in_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(work)
        .expect("thread");
    thread.join().expect("no overflow");
}

/// `pids` processes in one chain of forks, of which all but the last exit.
fn grow_chain(world: &mut World, pids: std::ops::RangeInclusive<u32>) {
    for pid in pids {
        world.fork(pid - 1, pid);
        world.exit(pid - 1);
    }
}

#[test]
fn a_chain_of_100_000_forks_is_only_long() {
    in_a_small_stack(|| {
        let begun = std::time::Instant::now();
        let mut world = World::with_job();
        grow_chain(&mut world, 2..=100_000);
        world.exec(100_000, "/tool");
        world.now += 60 * SECOND;
        world.forest.sweep(world.now);
        assert_eq!(world.forest.stats().processes, 100_000);

        let lineage = world.forest.lineage_of(key(100_000)).expect("known");
        assert_eq!(lineage.processes.len(), LINEAGE_MAX);
        let pids: Vec<u32> = lineage
            .processes
            .iter()
            .map(|process| process.pid)
            .collect();
        assert_eq!((pids[0], pids[1], pids[255]), (1, 100_000 - 254, 100_000));
        assert_eq!(lineage.processes[1].provenance, Provenance::Gap);
        assert_eq!(lineage.processes[2].provenance, Provenance::Kernel);
        assert_eq!(
            world
                .forest
                .tree_of(TreeId(1))
                .expect("tree")
                .processes
                .len(),
            100_000
        );

        let directory = tempfile::tempdir().expect("tempdir");
        let mut file = crate::StateFile::new(directory.path(), "boot");
        world.forest.save(&mut file).expect("save");
        let restarted = World::new(Limits::default());
        assert_eq!(restarted.forest.restore(&file).processes, 100_000);

        world.exit(100_000);
        world.now += 60 * SECOND;
        world.forest.sweep(world.now);
        assert_eq!(world.forest.stats().processes, 0, "all the way up");
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_chain_as_long_as_the_limit_is_shown_whole() {
    let length = LINEAGE_MAX as u32;
    for (last, gaps, first) in [(length, 0, 1), (length + 1, 1, 1), (length - 1, 0, 1)] {
        let mut world = World::with_job();
        for pid in 2..=last {
            world.fork(pid - 1, pid);
        }
        let lineage = world.forest.lineage_of(key(last)).expect("known");
        assert_eq!(lineage.processes.len(), LINEAGE_MAX.min(last as usize));
        let gap = |process: &&gateway_core::Process| process.provenance == Provenance::Gap;
        assert_eq!(lineage.processes.iter().filter(gap).count(), gaps, "{last}");
        assert_eq!(lineage.processes[0].pid, first);
    }
}

#[test]
fn memory_for_processes_is_bounded_and_the_living_and_the_roots_stay() {
    let limits = Limits {
        processes_max: 2_000,
        departed_max: 64,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    world.root(1, 1, RootedBy::Run);
    world.exec(1, "/srv/job");
    grow_chain(&mut world, 2..=50_000);
    world.forest.check();
    let Stats {
        processes,
        collapsed,
        alive,
        ..
    } = world.forest.stats();
    assert!(processes <= 2_000 + 256, "{processes}");
    assert!(collapsed > 40_000 && alive == 1);
    let lineage = world
        .forest
        .lineage_of(key(50_000))
        .expect("the living one");
    assert_eq!(
        (lineage.tree, lineage.root().expect("root").pid),
        (TreeId(1), 1)
    );
    assert!(
        lineage
            .processes
            .iter()
            .any(|p| p.provenance == Provenance::Gap)
    );

    // Living ones are kept whatever the limit says.
    for pid in 60_001..=65_000 {
        world.fork(1, pid);
    }
    assert!((60_001..=65_000).all(|pid| world.forest.tree_of_process(key(pid)).is_some()));
    world.forest.check();
}

#[test]
fn one_tree_does_not_crowd_out_another() {
    let limits = Limits {
        processes_max: 500,
        departed_max: 16,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    world.root(1, 2, RootedBy::Run);
    // The quiet tree: a chain of ten, of which the last lives.
    let quiet = |world: &mut World, parent: u32, child: u32| {
        let time = world.now + 1;
        world.forest.observe(&Event::Forked {
            time,
            parent: key(parent),
            child: key(child),
            tree: TreeId(2),
            uid: 0,
            cgroup_id: 5,
        });
    };
    for pid in 2..=10 {
        quiet(&mut world, pid - 1, pid);
        world.exit(pid - 1);
    }
    let before = world.draw(10);
    world.root(20, 1, RootedBy::Run);
    grow_chain(&mut world, 21..=5_000);
    assert!(world.forest.stats().collapsed > 4_000);
    assert_eq!(world.draw(10), before, "the loud tree paid alone");
}

#[test]
fn memory_for_details_is_bounded_and_said() {
    let limits = Limits {
        detail_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    world.root(1, 1, RootedBy::Run);
    let file = format!("/{}", "d".repeat(2_000));
    for pid in 2..=1_000 {
        world.fork(1, pid);
        world.exec(pid, &format!("{file}/{pid}"));
    }
    world.forest.check();
    let stats = world.forest.stats();
    // Each keeps at least the end of its file name.
    assert!(
        stats.detail_bytes <= (64 << 10) + 1_000 * 255,
        "{}",
        stats.detail_bytes
    );
    assert!(stats.scarce > 900);
    let process = world
        .forest
        .lineage_of(key(1_000))
        .expect("known")
        .processes
        .pop();
    let process = process.expect("the last");
    assert!(process.exe.ends_with("/1000") && process.argv_cut && process.argv.is_empty());
}

#[test]
fn a_lineage_carries_a_bounded_load_of_arguments() {
    let mut world = World::with_job();
    let argv = "a\0".repeat(2_048);
    for pid in 2..=200 {
        world.fork(pid - 1, pid);
        let time = world.now;
        world.forest.observe(&Event::Executed {
            time,
            key: key(pid),
            tree: TreeId(1),
            uid: 0,
            cgroup_id: 5,
            file: b"/x",
            argv: argv.as_bytes(),
            argv_cut: false,
        });
    }
    let lineage = world.forest.lineage_of(key(200)).expect("known");
    let arguments: usize = lineage
        .processes
        .iter()
        .map(|process| process.argv.len())
        .sum();
    assert!(arguments < 2_100, "{arguments}");
    assert!(
        !lineage.root().expect("root").argv.is_empty(),
        "the root comes before the middle"
    );
    assert!(lineage.process().expect("acting").argv_cut);
}

#[test]
fn a_storm_of_short_lives_leaves_nothing() {
    let mut world = World::with_job();
    for pid in 2..=200_000 {
        world.fork(1, pid);
        world.exec(pid, "/bin/true");
        world.exit(pid);
    }
    let stats = world.forest.stats();
    assert!(
        stats.processes <= Limits::default().departed_max + 1,
        "{}",
        stats.processes
    );
    world.pass();
    assert_eq!(world.forest.stats().processes, 1);
}
