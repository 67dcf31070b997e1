//! Rows that integration tests prove which are about more than the way, or need more than an attempt
//! has: `cargo xtask ways-out` runs them beside the attempts.

/// A test that proves something of a row.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// The row of the design's table.
    pub row: u8,
    /// The test's path in the integration binary.
    pub test: &'static str,
    /// Of what `harden` makes of a command of `gateway run`, and not of any job.
    pub hardened: bool,
}

const fn of(row: u8, test: &'static str) -> Proof {
    Proof {
        row,
        test,
        hardened: false,
    }
}

const fn hardened(row: u8, test: &'static str) -> Proof {
    Proof {
        row,
        test,
        hardened: true,
    }
}

const FAMILIES: &str = "harden::a_filter_leaves_the_sockets_that_are_governed";
const CAPABILITIES: &str = "harden::capabilities_are_gone_and_stay_so";

/// All of them.
pub const PROOFS: &[Proof] = &[
    hardened(5, FAMILIES),
    hardened(6, FAMILIES),
    hardened(7, FAMILIES),
    hardened(8, FAMILIES),
    of(18, "translated::the_policy_judges_the_address_inside"),
    of(20, "namespaces::a_policy_that_denies_does_so_everywhere"),
    of(
        20,
        "namespaces::connections_go_through_the_gateway_and_on_in_the_same_namespace",
    ),
    of(
        21,
        "namespaces::a_network_in_user_space_is_captured_on_both_sides",
    ),
    hardened(22, CAPABILITIES),
    hardened(24, CAPABILITIES),
    of(
        26,
        "before::inherited_connections_are_ended_behind_the_first_exec",
    ),
    of(
        26,
        "before::a_connection_that_an_ungoverned_parent_shares_goes_on_and_is_said",
    ),
    of(27, "before::connections_from_before_the_daemon_are_ended"),
    hardened(37, CAPABILITIES),
    hardened(38, CAPABILITIES),
    hardened(39, CAPABILITIES),
    of(44, "dns::a_tunnel_runs_dry"),
    of(
        45,
        "names::a_client_that_asks_for_another_server_is_judged_by_the_address",
    ),
    of(
        49,
        "storm::a_storm_of_processes_leaves_no_connect_without_its_tree",
    ),
    of(
        50,
        "storm::clients_that_abort_and_vanish_leave_nothing_behind",
    ),
    of(51, "capture::a_reused_process_id_inherits_nothing"),
    hardened(54, CAPABILITIES),
    of(
        58,
        "inbound::only_its_own_tree_reaches_what_a_process_listens_on",
    ),
    of(
        58,
        "inbound::no_trick_makes_a_listener_that_strangers_reach",
    ),
    of(61, "attacks::the_daemon_cannot_be_borrowed"),
    of(
        66,
        "crash::a_stranger_on_the_dead_daemons_port_gets_nothing",
    ),
    of(
        67,
        "capture::a_child_cloned_into_a_governed_cgroup_is_governed_from_its_first_instruction",
    ),
];
