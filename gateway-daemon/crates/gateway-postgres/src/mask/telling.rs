//! What PostgreSQL's own relations and functions show of values that they do not hold.
//!
//! Statistics of columns hold values. The figures of the server measure them: how many bytes and
//! blocks were read, written or kept tells how long a value is, and what is computed of it by
//! functions that cut it tells by that what is in it. Of the server's figures only those are shown
//! that count rows, statements, sessions and time: the lists of them are allow-lists, so that what
//! a newer server adds is covered until somebody has thought about it.

/// Which columns of a relation show what is in others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Telling {
    /// These.
    Only(&'static str),
    /// All but these.
    AllBut(&'static str),
}

impl Telling {
    pub(crate) fn has(self, column: &str) -> bool {
        match self {
            Telling::Only(telling) => is_in(telling, column),
            Telling::AllBut(clean) => !is_in(clean, column),
        }
    }
}

fn is_in(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|listed| listed == name)
}

/// The relations that are not known by how their names begin. Which of them a database has is asked
/// for by these names.
pub(crate) const NAMED: &[(&str, Telling)] = &[
    (
        "pg_statistic",
        // Of which kind they are depends on which values there are.
        Telling::AllBut("starelid staattnum stainherit"),
    ),
    (
        "pg_stats",
        Telling::AllBut("schemaname tablename attname inherited"),
    ),
    (
        "pg_statistic_ext_data",
        Telling::AllBut("stxoid stxdinherit"),
    ),
    (
        "pg_stats_ext",
        Telling::AllBut(
            "schemaname tablename statistics_schemaname statistics_name statistics_owner attnames
            exprs kinds inherited",
        ),
    ),
    (
        "pg_stats_ext_exprs",
        Telling::AllBut(
            "schemaname tablename statistics_schemaname statistics_name statistics_owner expr
            inherited",
        ),
    ),
    ("pg_largeobject", Telling::Only("data")),
    // What rows from before a column was added have in it.
    ("pg_attribute", Telling::Only("attmissingval")),
    // Where the rows are that a serialisable transaction has read.
    ("pg_locks", Telling::Only("page tuple")),
    // How many pages a relation has; how many rows is no secret.
    (
        "pg_class",
        Telling::Only("relpages relallvisible relallfrozen"),
    ),
    (
        "pg_replication_slots",
        Telling::Only("restart_lsn confirmed_flush_lsn safe_wal_size"),
    ),
    (
        "pg_backend_memory_contexts",
        Telling::AllBut("name ident type parent level path"),
    ),
];

/// How the names of the server's statistics begin, and of those that extensions add to them.
const BEGINNINGS: &[&str] = &["pg_stat_", "pg_statio_"];

/// What the server's statistics are about, and what of them counts rows, statements, sessions and
/// time. How many rows an index had for a value does not, with those that are gone: an UPDATE leaves no
/// entry there where the value is the same.
const COUNTS: Telling = Telling::AllBut(
    "relid indexrelid schemaname relname indexrelname datid datname funcid funcname subid subname
    slot_name name object context backend_type pid leader_pid usesysid usename application_name
    client_addr client_hostname client_port
    backend_start xact_start query_start state_change wait_event_type wait_event state backend_xid
    backend_xmin query_id
    seq_scan last_seq_scan seq_tup_read idx_scan last_idx_scan n_tup_ins
    n_tup_upd n_tup_del n_live_tup n_dead_tup n_mod_since_analyze n_ins_since_vacuum last_vacuum
    last_autovacuum last_analyze last_autoanalyze vacuum_count autovacuum_count analyze_count
    autoanalyze_count total_vacuum_time total_autovacuum_time total_analyze_time
    total_autoanalyze_time
    numbackends xact_commit xact_rollback tup_inserted tup_updated tup_deleted
    conflicts confl_tablespace confl_lock confl_snapshot confl_bufferpin
    confl_deadlock confl_active_logicalslot deadlocks checksum_failures checksum_last_failure
    session_time active_time idle_in_transaction_time sessions sessions_abandoned sessions_fatal
    sessions_killed stats_reset
    calls total_time self_time
    command phase type tuples_processed tuples_excluded tuples_skipped tuples_total tuples_done
    heap_tuples_scanned heap_tuples_written index_rebuild_count index_relid cluster_index_relid
    lockers_total lockers_done current_locker_pid partitions_total partitions_done ext_stats_total
    ext_stats_computed child_tables_total child_tables_done current_child_table_relid
    index_vacuum_count indexes_total indexes_processed
    tablespaces_total tablespaces_streamed
    ssl version cipher bits client_dn client_serial issuer_dn gss_authenticated principal encrypted
    credentials_delegated
    write_lag flush_lag replay_lag sync_priority sync_state reply_time status receive_start_tli
    received_tli sender_host sender_port last_msg_send_time last_msg_receipt_time latest_end_time
    apply_error_count sync_error_count checkpoints_timed checkpoints_req num_timed num_requested
    num_done",
);

/// What a transaction has done so far: the server's own share in it, which looks up what a foreign key
/// refers to only where that has changed, is not lost among what others do.
const OWN: &str = "pg_stat_xact_";
const OWN_COUNTS: Telling = Telling::AllBut("relid schemaname relname funcid funcname");

/// Which columns of a relation of this name show what is in others, if any do.
pub(crate) fn columns_of(relation: &str) -> Option<Telling> {
    let named = NAMED.iter().find(|(name, _)| *name == relation);
    let is_of_server = || BEGINNINGS.iter().any(|start| relation.starts_with(start));
    match named {
        Some((_, telling)) => Some(*telling),
        None if relation.starts_with(OWN) => Some(OWN_COUNTS),
        None => is_of_server().then_some(COUNTS),
    }
}

/// How the names of functions begin that read the server's statistics.
const READERS: &str = "pg_stat_get_";

/// Those that read what is no secret, without how they begin.
const COUNTING_READERS: &str = "analyze_count autoanalyze_count autovacuum_count vacuum_count
    backend_activity_start backend_client_addr backend_client_port backend_dbid backend_idset
    backend_pid backend_start backend_userid backend_wait_event backend_wait_event_type
    backend_xact_start bgwriter_requested_checkpoints bgwriter_timed_checkpoints
    bgwriter_stat_reset_time checkpointer_num_timed checkpointer_num_requested
    checkpointer_num_performed checkpointer_stat_reset_time
    db_active_time db_checksum_failures db_checksum_last_failure db_conflict_all
    db_conflict_bufferpin db_conflict_lock db_conflict_logicalslot db_conflict_snapshot
    db_conflict_startup_deadlock db_conflict_tablespace db_deadlocks db_idle_in_transaction_time
    db_numbackends db_session_time db_sessions db_sessions_abandoned db_sessions_fatal
    db_sessions_killed db_stat_reset_time db_tuples_deleted db_tuples_inserted
    db_tuples_updated db_xact_commit db_xact_rollback
    dead_tuples live_tuples ins_since_vacuum mod_since_analyze lastscan last_analyze_time
    last_autoanalyze_time last_autovacuum_time last_vacuum_time total_vacuum_time
    total_autovacuum_time total_analyze_time total_autoanalyze_time
    function_calls function_self_time function_total_time numscans snapshot_timestamp
    subscription_stats tuples_deleted tuples_inserted tuples_updated";

/// Other functions of the server that show what somebody asks, what is in statistics, how large
/// something is, or how much was written: how much an UPDATE writes depends on how far the new value
/// of a column is like the old one.
const FUNCTIONS: &str = "pg_mcv_list_items pg_stat_statements pg_cursor pg_prepared_statement
    pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size
    pg_tablespace_size pg_get_backend_memory_contexts pg_get_replication_slots pg_get_aios
    pg_control_checkpoint pg_control_recovery pg_wal_summary_contents pg_available_wal_summaries
    pg_get_wal_summarizer_state pg_show_replication_origin_status
    pg_replication_origin_progress pg_replication_origin_session_progress";

/// Does a function of PostgreSQL's own show what is in relations, without reading them?
pub(crate) fn is_function(name: &str) -> bool {
    let is_position = name.starts_with("pg_current_wal_") || name.starts_with("pg_last_wal_");
    match name.strip_prefix(READERS) {
        Some(figure) => !is_in(COUNTING_READERS, figure),
        None => is_position && name.contains("lsn") || is_in(FUNCTIONS, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_server_counts_is_covered() {
        for relation in ["pg_stat_io", "pg_statio_user_tables", "pg_stat_of_tomorrow"] {
            let columns = columns_of(relation).unwrap();
            assert!(columns.has("figure_of_tomorrow"), "{relation}");
            assert!(!columns.has("relname"), "{relation}");
        }
        assert!(is_function("pg_stat_get_figure_of_tomorrow"));
        assert!(!is_function("pg_stat_get_live_tuples"));
    }

    #[test]
    fn only_statistics_are_known_by_how_they_begin() {
        for relation in ["pg_statistic_ext", "pg_status", "pg_attrdef", "stats"] {
            assert!(columns_of(relation).is_none(), "{relation}");
        }
    }

    #[test]
    fn sizes_and_positions_tell() {
        for (relation, column) in [
            ("pg_stat_progress_copy", "bytes_processed"),
            ("pg_stat_database", "temp_bytes"),
            ("pg_stat_user_tables", "n_tup_hot_upd"),
            ("pg_stat_user_tables", "idx_tup_fetch"),
            ("pg_stat_user_indexes", "idx_tup_read"),
            ("pg_stat_database", "tup_returned"),
            ("pg_stat_xact_user_tables", "idx_scan"),
            ("pg_statistic", "stakind1"),
            ("pg_stat_activity", "query"),
            ("pg_class", "relpages"),
            ("pg_attribute", "attmissingval"),
            ("pg_locks", "tuple"),
            ("pg_backend_memory_contexts", "used_bytes"),
        ] {
            assert!(
                columns_of(relation).unwrap().has(column),
                "{relation}.{column}"
            );
        }
        for function in [
            "pg_current_wal_insert_lsn",
            "pg_relation_size",
            "pg_stat_get_wal",
            "pg_stat_get_tuples_returned",
            "pg_stat_get_xact_numscans",
        ] {
            assert!(is_function(function), "{function}");
        }
        assert!(!is_function("pg_wal_lsn_diff"));
    }
}
