//! Built-in functions that do more than compute.
use super::Meaning;
use gateway_core::Verb;

/// Functions of `pg_catalog`, by what calling them does.
pub(super) const FUNCTIONS: &[(Meaning, &str)] = &[
    (Meaning::Sequence, "nextval setval"),
    (Meaning::SetConfig, "set_config"),
    // Locks, messages, large objects, statistics of the planner, maintenance of an index.
    (
        Meaning::Effect(Verb::Write),
        "pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
         pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
         pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
         pg_try_advisory_xact_lock_shared
         pg_notify pg_logical_emit_message
         lo_close lo_creat lo_create lo_from_bytea lo_get lo_lseek lo_lseek64 lo_open lo_put
         lo_tell lo_tell64 lo_truncate lo_truncate64 lo_unlink loread lowrite
         pg_clear_relation_stats pg_restore_relation_stats pg_clear_attribute_stats
         pg_restore_attribute_stats
         brin_desummarize_range brin_summarize_new_values brin_summarize_range
         gin_clean_pending_list",
    ),
    // These run a query that is given to them as text, or read a table that is.
    (
        Meaning::RunsText,
        "query_to_xml query_to_xmlschema query_to_xml_and_xmlschema
         table_to_xml table_to_xmlschema table_to_xml_and_xmlschema
         schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
         database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
         cursor_to_xml cursor_to_xmlschema ts_stat ts_rewrite",
    ),
    // Files of the server.
    (
        Meaning::Effect(Verb::Admin),
        "pg_read_file pg_read_file_old pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_logdir
         pg_ls_waldir pg_ls_tmpdir pg_ls_archive_statusdir pg_ls_logicalmapdir
         pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir
         lo_import lo_export pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings",
    ),
    // Processes, configuration and logs of the server, backup, recovery.
    (
        Meaning::Effect(Verb::Admin),
        "pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile
         pg_rotate_logfile_old pg_log_backend_memory_contexts pg_log_standby_snapshot
         pg_switch_wal pg_switch_xlog pg_create_restore_point pg_promote
         pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
         pg_wal_replay_pause pg_wal_replay_resume pg_xlog_replay_pause pg_xlog_replay_resume
         pg_stat_reset pg_stat_reset_shared pg_stat_reset_single_table_counters
         pg_stat_reset_single_function_counters pg_stat_reset_slru
         pg_stat_reset_replication_slot pg_stat_reset_subscription_stats
         pg_stat_reset_backend_stats
         pg_import_system_collations pg_stop_making_pinned_objects pg_nextoid
         pg_extension_config_dump
         binary_upgrade_create_empty_extension binary_upgrade_set_missing_value
         binary_upgrade_set_next_array_pg_type_oid binary_upgrade_set_next_heap_pg_class_oid
         binary_upgrade_set_next_heap_relfilenode binary_upgrade_set_next_index_pg_class_oid
         binary_upgrade_set_next_index_relfilenode
         binary_upgrade_set_next_multirange_array_pg_type_oid
         binary_upgrade_set_next_multirange_pg_type_oid binary_upgrade_set_next_pg_authid_oid
         binary_upgrade_set_next_pg_enum_oid binary_upgrade_set_next_pg_tablespace_oid
         binary_upgrade_set_next_pg_type_oid binary_upgrade_set_next_toast_pg_class_oid
         binary_upgrade_set_next_toast_relfilenode binary_upgrade_set_record_init_privs
         binary_upgrade_logical_slot_has_caught_up binary_upgrade_add_sub_rel_state
         binary_upgrade_replorigin_advance",
    ),
    // Replication. The readers of a slot give out every change of every table.
    (
        Meaning::Effect(Verb::Admin),
        "pg_create_logical_replication_slot pg_create_physical_replication_slot
         pg_copy_logical_replication_slot pg_copy_physical_replication_slot
         pg_drop_replication_slot pg_replication_slot_advance pg_sync_replication_slots
         pg_logical_slot_get_changes pg_logical_slot_get_binary_changes
         pg_logical_slot_peek_changes pg_logical_slot_peek_binary_changes
         pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
         pg_replication_origin_progress pg_replication_origin_session_is_setup
         pg_replication_origin_session_progress pg_replication_origin_session_reset
         pg_replication_origin_session_setup pg_replication_origin_xact_reset
         pg_replication_origin_xact_setup",
    ),
];

/// Beginnings of the names of functions with which the server dials out.
pub(super) const EXTENSION_PREFIXES: &[&str] = &["dblink", "postgres_fdw_"];

/// Functions of extensions that reach the files or the raw pages of the server.
pub(super) const EXTENSION_FUNCTIONS: &[&str] = &[
    "pg_file_write",
    "pg_file_sync",
    "pg_file_rename",
    "pg_file_unlink",
    "pg_file_read",
    "pg_file_length",
    "pg_logdir_ls",
    "pg_logfile_rotate",
    "get_raw_page",
    "heap_force_kill",
    "heap_force_freeze",
];
