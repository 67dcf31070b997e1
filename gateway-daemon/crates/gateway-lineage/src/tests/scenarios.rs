//! What happens to a lineage, one story at a time.
use super::*;

#[test]
fn a_daemonised_agent_is_traced_to_its_job_although_its_parents_are_gone() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/usr/bin/agent");
    world.fork(2, 3); // setsid, double fork
    world.fork(3, 4);
    world.exit(3);
    world.exit(2);
    world.fork(4, 5);
    world.exec(5, "/usr/bin/psql");
    world.pass();
    let expected = "1:/srv/job kernel > 2:/usr/bin/agent kernel exited > \
                    3:/usr/bin/agent kernel exited > 4:/usr/bin/agent kernel > \
                    5:/usr/bin/psql kernel";
    assert_eq!(world.draw(5), expected);

    let lineage = world.forest.lineage_of(key(5)).expect("lineage");
    let psql = lineage.process().expect("psql");
    assert_eq!(
        psql.argv.iter().map(|a| &**a).collect::<Vec<_>>(),
        ["/usr/bin/psql", "-x"]
    );
    assert_eq!(
        (&*psql.cgroup, psql.uid, psql.argv_cut),
        ("c5", 1000, false)
    );

    world.exit(1);
    world.exit(4);
    world.pass();
    assert!(
        world.draw(5).starts_with("1:/srv/job kernel exited > 2:"),
        "until the last one goes"
    );
    world.exit(5);
    world.pass();
    assert_eq!(world.draw(5), "nothing");
    assert!(world.forest.trees().is_empty());
}

#[test]
fn one_that_exits_at_once_can_still_be_asked_for() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/usr/bin/curl");
    world.exit(2);
    assert_eq!(
        world.draw(2),
        "1:/srv/job kernel > 2:/usr/bin/curl kernel exited"
    );
    world.pass();
    assert_eq!(world.draw(2), "nothing");
}

#[test]
fn a_forked_process_runs_what_its_parent_ran_at_that_moment() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(1, "/srv/other");
    world.fork(1, 3);
    assert_eq!(world.draw(2), "1:/srv/other kernel > 2:/srv/job kernel");
    assert_eq!(world.draw(3), "1:/srv/other kernel > 3:/srv/other kernel");
}

#[test]
fn a_late_exec_report_reaches_those_who_were_forked_since() {
    let mut world = World::new(Limits::default());
    world.root(1, 1, RootedBy::Run);
    let long_before = key(3).start - 1;
    world.fork(1, 2);
    world.fork(2, 3);
    world.fork(3, 4);
    world.exec(4, "/own");
    world.exec_at(long_before, 2, "/late");
    assert_eq!(
        world.draw(4),
        "1: gap > 2:/late kernel > 3:/late kernel > 4:/own kernel"
    );
    world.exec_at(long_before - 1, 2, "/even-earlier");
    assert_eq!(
        world.draw(2),
        "1: gap > 2:/late kernel",
        "an older one does not undo it"
    );
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/first");
    world.exit(2);
    let again = ProcessKey::new(2, 70_000_000);
    let time = world.now + 1;
    world.forest.observe(&Event::Rooted {
        time,
        key: again,
        tree: TreeId(9),
        policy_slot: 0,
        uid: 0,
        cgroup_id: 5,
        how: RootedBy::CgroupAtFork,
    });
    let lineage = world.forest.lineage_of(again).expect("known");
    assert_eq!(
        (lineage.tree, lineage.processes.len()),
        (TreeId(9), 1),
        "nothing is inherited"
    );
    assert_eq!(world.draw(2), "1:/srv/job kernel > 2:/first kernel exited");
    assert_eq!(
        world.forest.find_pid(2),
        Some(again),
        "the living one first"
    );
    let stranger = ProcessKey::new(1, 12);
    assert_eq!(world.forest.lineage_of(stranger), None);
}

#[test]
fn repeated_reports_change_nothing() {
    let mut world = World::with_job();
    world.fork(1, 2);
    let forked = world.now;
    world.exec(2, "/tool");
    let executed = world.now;
    let (before, stats) = (world.draw(2), world.forest.stats());
    world.fork_at(forked, 1, 2);
    world.exec_at(executed, 2, "/tool");
    assert_eq!((world.draw(2), world.forest.stats()), (before, stats));
    world.exit(2);
    let exited = world.forest.stats();
    world.fork_at(forked, 1, 2);
    world.exec_at(executed, 2, "/tool");
    world.exit(2);
    assert_eq!(world.forest.stats(), exited, "nobody rises");
}

#[test]
fn an_unknown_parent_is_a_gap_and_proc_completes_it() {
    let mut world = World::with_job();
    world.fork(2, 3);
    world.exec(3, "/tool");
    assert_eq!(
        world.draw(3),
        "1:/srv/job kernel > 2: gap exited > 3:/tool kernel"
    );

    world.show(4, "/alive", 1);
    world.fork(4, 5);
    assert_eq!(
        world.draw(5),
        "1:/srv/job kernel > 4:/alive gap > 5:/alive proc"
    );
    // The report comes after all.
    world.fork(1, 4);
    assert_eq!(
        world.draw(5),
        "1:/srv/job kernel > 4:/alive proc > 5:/alive proc"
    );
}

#[test]
fn an_exec_of_an_unknown_process_puts_it_into_its_tree() {
    let mut world = World::with_job();
    world.exec(8, "/tool");
    assert_eq!(world.draw(8), "1:/srv/job kernel > 8:/tool gap");
    world.exit(9);
    assert_eq!(world.draw(9), "nothing", "an exit makes nobody");
    assert_eq!(world.forest.stats().processes, 2);
}

#[test]
fn an_exit_that_overtakes_its_fork_keeps_the_link() {
    let mut world = World::with_job();
    world.exit(2);
    world.fork(2, 3);
    world.fork(1, 2);
    world.exec(3, "/tool");
    assert_eq!(
        world.draw(3),
        "1:/srv/job kernel > 2:/srv/job kernel exited > 3:/tool kernel"
    );
    world.exit(3);
    world.exit(1);
    world.pass();
    assert_eq!(world.forest.stats().processes, 0);
}

#[test]
fn nonsense_makes_no_cycle() {
    let mut world = World::with_job();
    world.fork(2, 3);
    world.fork(3, 2);
    world.fork(2, 2);
    world.fork(3, 1);
    assert_eq!(world.draw(3), "1:/srv/job kernel > 2: gap exited > 3: gap");
}

#[test]
fn a_process_follows_its_tag_into_another_tree_and_its_children_do_not() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/sh");
    world.fork(2, 3);
    world.root(2, 7, RootedBy::Run);
    let lineage = world.forest.lineage_of(key(2)).expect("known");
    assert_eq!(
        (lineage.tree, draw(&lineage)),
        (TreeId(7), "2:/sh kernel".to_owned())
    );
    assert_eq!(
        world.draw(3),
        "1:/srv/job kernel > 2:/sh kernel exited > 3:/sh kernel"
    );
    assert_eq!(world.forest.tree_of_process(key(3)), Some(TreeId(1)));
    // A report from before the move does not move it back.
    world.exec_at(world.now - 1, 2, "/old");
    assert_eq!(world.forest.tree_of_process(key(2)), Some(TreeId(7)));
    world.exit(3);
    world.exit(1);
    world.pass();
    assert_eq!(
        world.forest.trees().len(),
        1,
        "the memory in the first tree is gone with it"
    );
    world.exit(2);
    world.pass();
    assert_eq!(world.forest.stats().processes, 0);
}

#[test]
fn a_found_root_says_that_it_was_found() {
    let mut world = World::new(Limits::default());
    world.show(1, "/usr/sbin/runner", 1);
    world.root(1, 1, RootedBy::Scan);
    world.fork(1, 2);
    assert_eq!(
        world.draw(2),
        "1:/usr/sbin/runner cgroup > 2:/usr/sbin/runner proc"
    );
}

#[test]
fn lost_reports_are_repaired_from_the_tags() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/sh");
    world.fork(1, 3);
    world.exec(3, "/cat");
    world.lose();
    assert!(world.forest.needs_repair());
    // Missed: 3 exited; 2 forked 4, which forked 5 and exited; 5 is alive.
    world.show(1, "/srv/job", 0);
    world.show(2, "/sh", 0);
    world.show(5, "/found", 1);
    let repaired = world.repair(&[tag(5, Some(4)), tag(1, None), tag(2, Some(1))]);
    assert_eq!((repaired.added, repaired.vanished), (1, 1));
    assert!(!world.forest.needs_repair());
    assert_eq!(world.draw(3), "1:/srv/job kernel > 3:/cat kernel exited");
    assert_eq!(
        world.draw(5),
        "1:/srv/job kernel > 4: gap exited > 5:/found proc"
    );
    let found = world
        .forest
        .lineage_of(key(5))
        .expect("known")
        .processes
        .pop()
        .expect("5");
    assert_eq!((found.uid, &*found.cgroup), (2000, "c5"));
    let again = world.repair(&[tag(5, Some(4)), tag(1, None), tag(2, Some(1))]);
    assert_eq!(
        again,
        crate::Repaired::default(),
        "a second repair finds nothing to do"
    );
}

#[test]
fn an_exec_that_was_lost_is_noticed_by_the_layout_in_memory() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.show(2, "/sh", 41);
    world.exec(2, "/sh");
    world.lose();
    world.repair(&[tag(1, None), tag(2, Some(1))]);
    // 1 is not in /proc any more: its exit was among what was lost.
    assert_eq!(
        world.draw(2),
        "1:/srv/job kernel exited > 2:/sh kernel",
        "the same: kept"
    );
    world.show(2, "/python", 42);
    world.lose();
    let repaired = world.repair(&[tag(2, Some(1))]);
    assert_eq!(repaired.corrected, 1);
    assert_eq!(world.draw(2), "1:/srv/job kernel exited > 2:/python proc");
}

#[test]
fn a_repair_leaves_alone_who_came_after_the_tags_were_read() {
    let mut world = World::with_job();
    world.show(1, "/srv/job", 0);
    let read_at = world.now;
    world.fork(1, 2);
    let repaired = world.forest.repair([tag(1, None)], read_at);
    assert_eq!(repaired.vanished, 0);
    assert_eq!(world.draw(2), "1:/srv/job kernel > 2:/srv/job kernel");
}

#[test]
fn a_stale_tag_raises_nobody_and_a_living_process_is_not_lost() {
    let mut world = World::with_job();
    world.show(1, "/srv/job", 0);
    world.fork(1, 2);
    world.exit(2);
    let repaired = world.repair(&[tag(1, None), tag(2, Some(1)), tag(6, Some(1))]);
    assert_eq!(repaired, crate::Repaired::default(), "neither is in /proc");
    // The map was read while it changed, and a living process was not in it.
    world.fork(1, 3);
    world.repair(&[tag(1, None)]);
    assert_eq!(
        world.draw(3),
        "1:/srv/job kernel > 3:/srv/job kernel exited"
    );
    world.show(3, "/srv/job", 0);
    world.repair(&[tag(1, None), tag(3, Some(1))]);
    assert_eq!(world.draw(3), "1:/srv/job kernel > 3:/srv/job kernel");
}

#[test]
fn a_forest_can_grow_from_tags_alone() {
    let mut world = World::new(Limits::default());
    for (pid, file) in [(4, "/root-is-gone"), (5, "/child"), (9, "/other")] {
        world.show(pid, file, 1);
    }
    let other = Tag {
        tree: TreeId(2),
        ..tag(9, None)
    };
    world.repair(&[tag(4, Some(2)), tag(5, Some(4)), other]);
    assert_eq!(
        world.draw(5),
        "2: gap exited > 4:/root-is-gone proc > 5:/child proc"
    );
    assert_eq!(world.draw(9), "9:/other cgroup");
    assert_eq!(world.forest.trees().len(), 2);
    assert!(
        world
            .forest
            .trees()
            .iter()
            .all(|tree| tree.policy_slot == Some(3))
    );
}

#[test]
fn a_tagged_process_is_adopted_before_its_report_comes() {
    let mut world = World::with_job();
    world.show(2, "/usr/bin/psql", 1);
    let lineage = world
        .forest
        .adopt(tag(2, Some(1)), world.now)
        .expect("adopted");
    assert_eq!(draw(&lineage), "1:/srv/job kernel > 2:/usr/bin/psql proc");
    world.fork(1, 2);
    world.exec(2, "/usr/bin/psql");
    assert_eq!(world.draw(2), "1:/srv/job kernel > 2:/usr/bin/psql kernel");
    assert_eq!(
        world.forest.adopt(tag(3, Some(1)), world.now),
        None,
        "not in /proc: not alive"
    );
}

#[test]
fn a_tree_is_shown_with_parents_before_children() {
    let mut world = World::with_job();
    world.fork(1, 2);
    world.fork(2, 4);
    world.fork(1, 3);
    world.exit(2);
    let view = world.forest.tree_of(TreeId(1)).expect("tree");
    let shape: Vec<_> = view
        .processes
        .iter()
        .map(|p| (p.process.pid, p.parent.map(|p| p.pid)))
        .collect();
    assert_eq!(shape, [(1, None), (2, Some(1)), (3, Some(1)), (4, Some(2))]);
    assert_eq!((view.summary.alive, view.summary.processes), (3, 4));
    assert_eq!(
        view.summary.root.map(|root| root.exe),
        Some("/srv/job".into())
    );
    assert_eq!(world.forest.tree_of(TreeId(2)), None);
}

#[tokio::test]
async fn a_reader_waits_until_the_reports_are_followed() {
    let world = Arc::new(World::with_job());
    let waiter = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.forest.follow_to(500).await })
    };
    world.forest.followed_to(499);
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    world.forest.followed_to(500);
    waiter.await.expect("done");
    world.forest.followed_to(3);
    world.forest.follow_to(500).await;
}
