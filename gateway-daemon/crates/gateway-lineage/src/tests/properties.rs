//! Whatever is reported, in whatever order: no panic, no wrong tree, nothing left behind.
use super::*;
use crate::table::{Sightings, Table};
use proptest::prelude::*;
use proptest::sample::Index;

/// One thing that happens in a small world of processes.
#[derive(Clone, Debug)]
enum Deed {
    Root,
    Fork(Index),
    Exec(Index),
    Exit(Index),
    Move(Index),
    ReusePid(Index),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        1 => Just(Deed::Root),
        6 => any::<Index>().prop_map(Deed::Fork),
        4 => any::<Index>().prop_map(Deed::Exec),
        4 => any::<Index>().prop_map(Deed::Exit),
        1 => any::<Index>().prop_map(Deed::Move),
        1 => any::<Index>().prop_map(Deed::ReusePid),
    ]
}

#[derive(Clone, Debug)]
struct Living {
    key: ProcessKey,
    tree: TreeId,
}

/// What the kernel would report, and who is alive in the end.
struct History {
    events: Vec<Event<'static>>,
    alive: Vec<Living>,
    now: u64,
}

fn history(deeds: &[Deed]) -> History {
    let mut history = History {
        events: Vec::new(),
        alive: Vec::new(),
        now: 1_000,
    };
    let (mut next_pid, mut next_tree) = (10, 1);
    for deed in deeds {
        history.now += 1_000;
        let time = history.now;
        let who = |index: &Index, alive: &[Living]| index.get(alive).clone();
        let root = |key, tree| Event::Rooted {
            time,
            key,
            tree,
            policy_slot: 1,
            uid: 1,
            cgroup_id: 5,
            how: RootedBy::CgroupAtFork,
        };
        if history.alive.is_empty() || matches!(deed, Deed::Root) {
            let (key, tree) = (ProcessKey::new(next_pid, time), TreeId(next_tree));
            (next_pid, next_tree) = (next_pid + 1, next_tree + 1);
            history.alive.push(Living { key, tree });
            history.events.push(root(key, tree));
            continue;
        }
        match deed {
            Deed::Root => {}
            Deed::Fork(index) | Deed::ReusePid(index) => {
                let parent = who(index, &history.alive);
                let pid = match deed {
                    Deed::ReusePid(index) if history.alive.len() > 1 => {
                        // The pid of somebody who exits now.
                        let victim = index.index(history.alive.len());
                        let victim = history.alive[victim].clone();
                        if victim.key == parent.key {
                            next_pid
                        } else {
                            next_pid - 1
                        }
                    }
                    _ => next_pid,
                };
                next_pid += 1;
                let child = ProcessKey::new(pid, time);
                history.alive.push(Living {
                    key: child,
                    tree: parent.tree,
                });
                history.events.push(Event::Forked {
                    time,
                    parent: parent.key,
                    child,
                    tree: parent.tree,
                    uid: 1,
                    cgroup_id: time % 7,
                });
            }
            Deed::Exec(index) => {
                let Living { key, tree } = who(index, &history.alive);
                history.events.push(Event::Executed {
                    time,
                    key,
                    tree,
                    uid: 2,
                    cgroup_id: time % 7,
                    file: b"/bin/x",
                    argv: b"x\0y\0",
                    argv_cut: false,
                });
            }
            Deed::Exit(index) => {
                let Living { key, tree } =
                    history.alive.swap_remove(index.index(history.alive.len()));
                history.events.push(Event::Exited { time, key, tree });
            }
            Deed::Move(index) => {
                let tree = TreeId(next_tree);
                next_tree += 1;
                let index = index.index(history.alive.len());
                history.alive[index].tree = tree;
                history.events.push(root(history.alive[index].key, tree));
            }
        }
    }
    history
}

/// What becomes of the reports on their way: each is dropped, kept or doubled, and moved.
fn deliver(events: &[Event<'static>], fates: &[(u8, u8)], disorder: usize) -> Vec<Event<'static>> {
    let mut delivered: Vec<(usize, Event<'static>)> = Vec::new();
    for (position, event) in events.iter().enumerate() {
        let (fate, shift) = fates[position % fates.len()];
        let copies = match fate % 8 {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for copy in 0..copies {
            delivered.push((position + usize::from(shift) * disorder / 64 + copy, *event));
        }
    }
    delivered.sort_by_key(|(position, _)| *position);
    delivered.into_iter().map(|(_, event)| event).collect()
}

/// The trees that the delivered reports allow each process to be in: the one that the latest report
/// about it names, and those of later forks of its. One that has exited may be forgotten, and then
/// any report about it counts.
fn allowed_trees(events: &[Event<'_>]) -> FxHashMap<ProcessKey, (u64, Vec<TreeId>)> {
    let mut trees: FxHashMap<ProcessKey, (u64, Vec<TreeId>)> = FxHashMap::default();
    for event in events {
        let (time, key, tree) = match *event {
            Event::Rooted {
                time, key, tree, ..
            }
            | Event::Executed {
                time, key, tree, ..
            } => (time, key, tree),
            Event::Forked {
                time, child, tree, ..
            } => (time, child, tree),
            Event::Exited { .. } | Event::Lost { .. } => continue,
        };
        let latest = trees.entry(key).or_insert((time, vec![tree]));
        if time >= latest.0 {
            *latest = (time, vec![tree]);
        }
    }
    for event in events {
        if let Event::Forked {
            time, parent, tree, ..
        } = *event
            && let Some((latest, allowed)) = trees.get_mut(&parent)
            && time > *latest
        {
            allowed.push(tree);
        }
    }
    for event in events {
        let (keys, tree) = match *event {
            Event::Rooted { key, tree, .. } | Event::Executed { key, tree, .. } => {
                (vec![key], tree)
            }
            Event::Forked {
                parent,
                child,
                tree,
                ..
            } => (vec![parent, child], tree),
            Event::Exited { .. } | Event::Lost { .. } => continue,
        };
        for key in keys {
            let has_exited = events
                .iter()
                .any(|event| matches!(event, Event::Exited { key: ended, .. } if *ended == key));
            if has_exited && let Some((_, allowed)) = trees.get_mut(&key) {
                allowed.push(tree);
            }
        }
    }
    trees
}

fn concerning<'a>(key: ProcessKey, events: &[Event<'a>]) -> Vec<Event<'a>> {
    let concerns = |event: &&Event<'_>| match **event {
        Event::Rooted { key: about, .. }
        | Event::Executed { key: about, .. }
        | Event::Exited { key: about, .. } => about == key,
        Event::Forked { parent, child, .. } => parent == key || child == key,
        Event::Lost { .. } => true,
    };
    events.iter().filter(concerns).copied().collect()
}

fn drained(world: &mut World) {
    world.now += 3600 * SECOND;
    world.repair(&[]);
    world.now += 3600 * SECOND;
    world.forest.sweep(world.now);
    world.forest.check();
    assert_eq!(world.forest.stats().processes, 0);
    assert_eq!(world.forest.stats().detail_bytes, 0);
}

fn small_limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        Just(Limits::default()),
        Just(Limits {
            processes_max: 8,
            detail_bytes_max: 64,
            grace_ns: 200_000,
            departed_max: 4,
        }),
    ]
}

/// A failure is printed, and becomes a scenario by hand.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_report_puts_a_process_into_a_tree_that_its_tag_does_not_name(
        deeds in prop::collection::vec(deed(), 1..120),
        fates in prop::collection::vec((2_u8..9, any::<u8>()), 1..40),
        disorder in 0_usize..20,
        limits in small_limits(),
    ) {
        let history = history(&deeds);
        let delivered = deliver(&history.events, &fates, disorder);
        let mut world = World::new(limits);
        world.blind();
        for (position, event) in delivered.iter().enumerate() {
            world.forest.observe(event);
            world.forest.check();
            for (key, (_, allowed)) in allowed_trees(&delivered[..=position]) {
                if let Some(lineage) = world.forest.lineage_of(key) {
                    prop_assert!(
                        allowed.contains(&lineage.tree),
                        "{key:?} is in {}, allowed: {allowed:?}\n{:#?}",
                        lineage.tree,
                        concerning(key, &delivered[..=position])
                    );
                    prop_assert_eq!(world.forest.tree_of_process(key), Some(lineage.tree));
                    prop_assert_eq!(lineage.process().map(|p| p.pid), Some(key.pid));
                }
            }
        }
        drained(&mut world);
    }

    #[test]
    fn without_losses_everyone_alive_is_known_in_the_right_tree(
        deeds in prop::collection::vec(deed(), 1..120),
        fates in prop::collection::vec((1_u8..8, any::<u8>()), 1..40),
        disorder in 0_usize..6,
    ) {
        let history = history(&deeds);
        let mut world = World::new(Limits::default());
        world.blind();
        for event in deliver(&history.events, &fates, disorder) {
            world.forest.observe(&event);
        }
        world.forest.check();
        prop_assert_eq!(world.forest.stats().alive, history.alive.len());
        for living in &history.alive {
            prop_assert_eq!(world.forest.tree_of_process(living.key), Some(living.tree));
        }
        for living in &history.alive {
            let (time, key, tree) = (history.now, living.key, living.tree);
            world.forest.observe(&Event::Exited { time, key, tree });
        }
        world.now = history.now + 3600 * SECOND;
        world.forest.sweep(world.now);
        prop_assert_eq!(world.forest.stats().processes, 0, "all exits were reported");
    }

    #[test]
    fn a_repair_makes_good_any_loss(
        deeds in prop::collection::vec(deed(), 1..120),
        fates in prop::collection::vec((any::<u8>(), any::<u8>()), 1..40),
        disorder in 0_usize..20,
    ) {
        let history = history(&deeds);
        let mut world = World::new(Limits::default());
        for event in deliver(&history.events, &fates, disorder) {
            world.forest.observe(&event);
        }
        world.forest.observe(&Event::Lost { count: 1 });
        for living in &history.alive {
            let facts = Facts { exe: Some("/shown".to_owned()), ..Facts::default() };
            world.show_as(living.key, facts);
        }
        let tags = history.alive.iter().map(|living| Tag {
            key: living.key,
            tree: living.tree,
            policy_slot: 1,
            parent: None,
        });
        world.forest.repair(tags, history.now + 1);
        world.forest.check();
        prop_assert_eq!(world.forest.stats().alive, history.alive.len());
        for living in &history.alive {
            prop_assert_eq!(world.forest.tree_of_process(living.key), Some(living.tree));
            let lineage = world.forest.lineage_of(living.key).expect("known");
            prop_assert!(!lineage.process().expect("acting").exited);
        }
        drained(&mut world);
    }

    #[test]
    fn a_restart_at_any_point_loses_no_lineage(
        deeds in prop::collection::vec(deed(), 1..80),
        cuts in prop::collection::vec(any::<Index>(), 1..6),
    ) {
        let history = history(&deeds);
        let directory = tempfile::tempdir().expect("tempdir");
        let mut file = crate::StateFile::new(directory.path(), "boot");
        let world = World::new(Limits::default());
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(history.events.len())).collect();
        for (position, event) in history.events.iter().enumerate() {
            world.forest.observe(event);
            if cuts.contains(&position) {
                world.forest.save(&mut file).expect("save");
                let again = World::new(Limits::default());
                again.forest.restore(&file);
                again.forest.check();
                prop_assert_eq!(again.forest.stats().alive, world.forest.stats().alive);
                for event in &history.events[..=position] {
                    let (Event::Rooted { key, .. } | Event::Forked { child: key, .. }) = *event
                    else {
                        continue;
                    };
                    let lineage = world.forest.lineage_of(key);
                    // Who exited childless is let go at the restart.
                    if again.forest.lineage_of(key).is_some() {
                        prop_assert_eq!(again.forest.lineage_of(key), lineage);
                    } else if let Some(lineage) = lineage {
                        prop_assert!(lineage.process().expect("acting").exited);
                    }
                }
            }
        }
    }

    #[test]
    fn pure_nonsense_is_survived(
        reports in prop::collection::vec(
            (0_u8..5, 0_u32..6, 0_u64..6, 0_u32..6, 0_u64..6, 0_u64..4, any::<u64>()),
            1..200,
        ),
    ) {
        let limits =
            Limits { processes_max: 6, detail_bytes_max: 40, grace_ns: 9, departed_max: 3 };
        let mut table = Table::new(limits);
        for (kind, pid, start, other_pid, other_start, tree, time) in reports {
            let key = ProcessKey::new(pid, start);
            let parent = ProcessKey::new(other_pid, other_start);
            let (tree, cgroup_id) = (TreeId(tree), u64::from(other_pid));
            let time = if time % 2 == 0 { time % 50 } else { time };
            let (uid, policy_slot) = (pid, 0);
            let event = match kind {
                0 => Event::Rooted {
                    time, key, tree, policy_slot, uid, cgroup_id, how: RootedBy::Scan,
                },
                1 => Event::Forked { time, parent, child: key, tree, uid, cgroup_id },
                2 => Event::Executed {
                    time, key, tree, uid, cgroup_id, file: b"\xff/x", argv: b"\0\0", argv_cut: true,
                },
                3 => Event::Exited { time, key, tree },
                _ => Event::Lost { count: time },
            };
            table.apply(&event, &Sightings::default());
            table.check();
        }
        let mut repaired = crate::Repaired::default();
        for key in table.keys() {
            let event = Event::Exited { time: u64::MAX, key, tree: TreeId(0) };
            table.apply(&event, &Sightings::default());
        }
        table.finish_repair(&[], u64::MAX, table.begin_repair(), &mut repaired);
        // Time cannot pass any more, so the grace is cut short by the bound alone.
        table.check();
        prop_assert!(table.alive() == 0);
    }
}

#[test]
fn an_emptied_table_is_empty() {
    let mut table = Table::new(Limits::default());
    let event = Event::Exited {
        time: 1,
        key: key(1),
        tree: TreeId(1),
    };
    table.apply(&event, &Sightings::default());
    assert!(!table.is_empty(), "the exit is remembered for a while");
    table.settle(3600 * SECOND);
    assert!(table.is_empty());
}
