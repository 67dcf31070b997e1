//! Built-in functions, operators, catalogues and fields that change nothing.

/// Functions of `pg_catalog` that compute, or tell what the server knows of itself: those of
/// PostgreSQL 15 to 18. They neither write nor lock, read no file, run no text, and call no
/// function that a user could have defined, but for the operators of the types they are given.
pub(super) const FUNCTIONS: &[&str] = &[
    // Mathematics, strings, bytes, geometry, networks, conversions.
    "abbrev abs acos acosd acosh area ascii asin asind asinh atan atan2 atan2d atand atanh bit
     bit_count bit_length bool box bpchar btrim bytea byteacat casefold cash_words cbrt ceil
     ceiling center char char_length character_length chr cidr circle concat concat_ws convert
     convert_from convert_to cos cosd cosh cot cotd crc32 crc32c currval decode degrees dexp
     diagonal diameter div dlog1 dlog10 dround dtrunc encode enum_first enum_last erf erfc exp
     factorial family float4 float8 floor format gamma gcd gen_random_uuid generate_series
     get_bit get_byte hashint4 hashint8 hashtext hashtextextended height host hostmask
     icu_unicode_version inet_merge inet_same_family initcap int2 int4 int8 is_normalized
     isclosed isempty ishorizontal isopen isparallel isperp isvertical lastval lcm left length
     lgamma like like_escape line ln log log10 lower lower_inc lower_inf lpad lseg ltrim
     macaddr macaddr8 macaddr8_set7bit masklen md5 min_scale mod money name netmask network
     normalize notlike npoints num_nonnulls num_nulls numeric numeric_div_trunc numeric_exp
     numeric_ln numeric_log numeric_sqrt octet_length oid oidvectortypes overlay parse_ident
     path pclose pi point polygon popen position pow power quote_ident quote_literal
     quote_nullable radians radius random random_normal regclass regexp_count regexp_instr
     regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array
     regexp_split_to_table regexp_substr repeat replace reverse right round rpad rtrim scale
     set_bit set_byte set_masklen setseed sha224 sha256 sha384 sha512 sign similar_escape
     similar_to_escape sin sind sinh slope split_part sqrt starts_with strpos substr substring
     tan tand tanh text textcat textlen to_ascii to_bin to_char to_hex to_number to_oct
     translate trim_scale trunc unicode_assigned unicode_version unistr upper upper_inc
     upper_inf uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 width width_bucket
     xid",
    // Aggregates and window functions.
    "any_value avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp
     cume_dist dense_rank every first_value lag last_value lead max min mode nth_value ntile
     percent_rank percentile_cont percentile_disc rank regr_avgx regr_avgy regr_count
     regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev stddev_pop
     stddev_samp string_agg sum var_pop var_samp varbit varchar variance",
    // Dates and times.
    "age clock_timestamp date date_add date_bin date_part date_subtract date_trunc extract interval
     isfinite justify_days justify_hours justify_interval make_date make_interval make_time
     make_timestamp make_timestamptz now overlaps statement_timestamp time timeofday timestamp
     timestamptz timetz timezone to_date to_timestamp transaction_timestamp",
    // Arrays, ranges, sets.
    "array_agg array_append array_cat array_dims array_fill array_length array_lower array_ndims
     array_position array_positions array_prepend array_remove array_replace array_reverse
     array_sample array_shuffle array_sort array_to_string array_to_tsvector array_upper
     arraycontained arraycontains arrayoverlap cardinality datemultirange daterange
     daterange_canonical daterange_subdiff enum_range generate_subscripts int4multirange
     int4range int4range_canonical int4range_subdiff int8multirange int8range
     int8range_canonical int8range_subdiff multirange nummultirange numrange numrange_subdiff
     range_agg range_contains range_intersect_agg range_merge range_overlaps string_to_array
     string_to_table trim_array tsmultirange tsrange tsrange_subdiff tstzmultirange tstzrange
     tstzrange_subdiff unnest",
    // JSON and XML.
    "array_to_json json_agg json_agg_strict json_array_elements json_array_elements_text
     json_array_length json_build_array json_build_object json_each json_each_text
     json_extract_path json_extract_path_text json_object json_object_agg
     json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict
     json_object_keys json_populate_record json_populate_recordset json_strip_nulls
     json_to_record json_to_recordset json_to_tsvector json_typeof jsonb_agg jsonb_agg_strict
     jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
     jsonb_build_object jsonb_concat jsonb_contains jsonb_delete jsonb_delete_path jsonb_each
     jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path
     jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
     jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict
     jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz jsonb_path_match
     jsonb_path_match_tz jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz
     jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz
     jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax
     jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof
     row_to_json to_json to_jsonb xml xml_is_well_formed xml_is_well_formed_content
     xml_is_well_formed_document xmlagg xmlcomment xmlexists xmltext xpath xpath_exists",
    // Text search.
    "get_current_ts_config numnode phraseto_tsquery plainto_tsquery querytree setweight strip
     to_tsquery to_tsvector ts_debug ts_delete ts_filter ts_headline ts_lexize ts_match_qv
     ts_match_vq ts_parse ts_rank ts_rank_cd ts_token_type tsquery_and tsquery_phrase
     tsvector_to_array websearch_to_tsquery",
    // What the server knows of itself, of the session and of its catalogues.
    "acldefault aclexplode col_description current_database current_query current_schema
     current_schemas current_setting current_user format_type getdatabaseencoding
     getpgusername has_any_column_privilege has_column_privilege has_database_privilege
     has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege
     has_largeobject_privilege has_parameter_privilege has_schema_privilege
     has_sequence_privilege has_server_privilege has_table_privilege has_tablespace_privilege
     has_type_privilege inet_client_addr inet_client_port inet_server_addr inet_server_port
     makeaclitem mxid_age obj_description pg_available_extension_versions
     pg_available_extensions pg_available_wal_summaries pg_backend_pid pg_basetype
     pg_blocking_pids pg_char_to_encoding pg_client_encoding pg_collation_actual_version
     pg_collation_for pg_collation_is_visible pg_column_compression pg_column_is_updatable
     pg_column_size pg_column_toast_chunk_id pg_conf_load_time pg_config pg_control_checkpoint
     pg_control_init pg_control_recovery pg_control_system pg_conversion_is_visible
     pg_current_logfile pg_current_snapshot pg_current_wal_flush_lsn pg_current_wal_insert_lsn
     pg_current_wal_lsn pg_current_xact_id pg_current_xact_id_if_assigned pg_cursor
     pg_database_collation_actual_version pg_database_size pg_describe_object
     pg_encoding_max_length pg_encoding_to_char pg_export_snapshot pg_extension_update_paths
     pg_filenode_relation pg_function_is_visible pg_get_acl pg_get_aios
     pg_get_backend_memory_contexts pg_get_catalog_foreign_keys pg_get_constraintdef
     pg_get_expr pg_get_function_arg_default pg_get_function_arguments
     pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody
     pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_loaded_modules
     pg_get_multixact_members pg_get_object_address pg_get_partition_constraintdef
     pg_get_partkeydef pg_get_publication_tables pg_get_replica_identity_index
     pg_get_replication_slots pg_get_ruledef pg_get_sequence_data pg_get_serial_sequence
     pg_get_shmem_allocations pg_get_statisticsobjdef pg_get_statisticsobjdef_columns
     pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef
     pg_get_wait_events pg_get_wal_replay_pause_state pg_get_wal_resource_managers
     pg_get_wal_summarizer_state pg_has_role pg_identify_object pg_identify_object_as_address
     pg_index_column_has_property pg_index_has_property pg_indexam_has_property
     pg_indexam_progress_phasename pg_indexes_size pg_input_error_info pg_input_is_valid
     pg_is_in_recovery pg_is_other_temp_schema pg_is_wal_replay_paused pg_jit_available
     pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn
     pg_last_xact_replay_timestamp pg_listening_channels pg_lock_status pg_lsn
     pg_mcv_list_items pg_my_temp_schema pg_notification_queue_usage pg_numa_available
     pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_options_to_table
     pg_partition_ancestors pg_partition_root pg_partition_tree pg_postmaster_start_time
     pg_prepared_statement pg_prepared_xact pg_relation_filenode pg_relation_filepath
     pg_relation_is_publishable pg_relation_is_updatable pg_relation_size
     pg_replication_origin_oid pg_safe_snapshot_blocking_pids pg_sequence_last_value
     pg_sequence_parameters pg_settings_get_flags pg_show_all_settings
     pg_show_replication_origin_status pg_size_bytes pg_size_pretty pg_sleep pg_sleep_for
     pg_sleep_until pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin pg_split_walfile_name
     pg_stat_have_stats pg_statistics_obj_is_visible pg_table_is_visible pg_table_size
     pg_tablespace_databases pg_tablespace_location pg_tablespace_size pg_timezone_abbrevs
     pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone pg_timezone_names
     pg_total_relation_size pg_trigger_depth pg_ts_config_is_visible pg_ts_dict_is_visible
     pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible pg_typeof
     pg_visible_in_snapshot pg_wal_lsn_diff pg_wal_summary_contents pg_walfile_name
     pg_walfile_name_offset pg_xact_commit_timestamp pg_xact_commit_timestamp_origin
     pg_xact_status row_security_active session_user shobj_description system_user to_regclass
     to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure
     to_regrole to_regtype to_regtypemod txid_current txid_current_if_assigned
     txid_current_snapshot txid_snapshot_xip txid_snapshot_xmax txid_snapshot_xmin txid_status
     txid_visible_in_snapshot version",
];

/// The symbols of all operators of `pg_catalog`.
pub(super) const OPERATORS: &str = r"!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / <
     <-> << <<= <<| <= <> <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@
     | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~*";

/// All tables and views of `pg_catalog`.
pub(super) const RELATIONS: &str =
    "pg_aggregate pg_aios pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_authid
     pg_available_extension_versions pg_available_extensions pg_backend_memory_contexts
     pg_cast pg_class pg_collation pg_config pg_constraint pg_conversion pg_cursors
     pg_database pg_db_role_setting pg_default_acl pg_depend pg_description pg_enum
     pg_event_trigger pg_extension pg_file_settings pg_foreign_data_wrapper pg_foreign_server
     pg_foreign_table pg_group pg_hba_file_rules pg_ident_file_mappings pg_index pg_indexes
     pg_inherits pg_init_privs pg_language pg_largeobject pg_largeobject_metadata pg_locks
     pg_matviews pg_namespace pg_opclass pg_operator pg_opfamily pg_parameter_acl
     pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_prepared_xacts
     pg_proc pg_publication pg_publication_namespace pg_publication_rel pg_publication_tables
     pg_range pg_replication_origin pg_replication_origin_status pg_replication_slots
     pg_rewrite pg_roles pg_rules pg_seclabel pg_seclabels pg_sequence pg_sequences
     pg_settings pg_shadow pg_shdepend pg_shdescription pg_shmem_allocations
     pg_shmem_allocations_numa pg_shseclabel pg_stat_activity pg_stat_all_indexes
     pg_stat_all_tables pg_stat_archiver pg_stat_bgwriter pg_stat_checkpointer
     pg_stat_database pg_stat_database_conflicts pg_stat_gssapi pg_stat_io
     pg_stat_progress_analyze pg_stat_progress_basebackup pg_stat_progress_cluster
     pg_stat_progress_copy pg_stat_progress_create_index pg_stat_progress_vacuum
     pg_stat_recovery_prefetch pg_stat_replication pg_stat_replication_slots pg_stat_slru
     pg_stat_ssl pg_stat_subscription pg_stat_subscription_stats pg_stat_sys_indexes
     pg_stat_sys_tables pg_stat_user_functions pg_stat_user_indexes pg_stat_user_tables
     pg_stat_wal pg_stat_wal_receiver pg_stat_xact_all_tables pg_stat_xact_sys_tables
     pg_stat_xact_user_functions pg_stat_xact_user_tables pg_statio_all_indexes
     pg_statio_all_sequences pg_statio_all_tables pg_statio_sys_indexes
     pg_statio_sys_sequences pg_statio_sys_tables pg_statio_user_indexes
     pg_statio_user_sequences pg_statio_user_tables pg_statistic pg_statistic_ext
     pg_statistic_ext_data pg_stats pg_stats_ext pg_stats_ext_exprs pg_subscription
     pg_subscription_rel pg_tables pg_tablespace pg_timezone_abbrevs pg_timezone_names
     pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser
     pg_ts_template pg_type pg_user pg_user_mapping pg_user_mappings pg_views pg_wait_events";

/// The names of what the functions above return, where that is a row, and the names that an
/// anonymous row gives to its fields.
pub(super) const FIELDS: &str =
    "abbrev access active active_pid address address_args address_names alias allocated_size
     application_name applied apply_error_count archived_count attrs auth_method backend_start
     backend_type backend_xid backend_xmin backup_end_lsn backup_start_lsn baredesc barelabel
     base_frequency blks_exists blks_hit blks_read blks_written blks_zeroed block_distance
     blocks_per_segment boot_val bytes_per_wal_segment cache_size catalog_version_no
     catalog_xmin catcode catdesc category change checkpoint_lsn checkpoint_time classid
     client_addr client_hostname client_port command command_tag comment confirmed_flush_lsn
     conninfo context creation creation_time custom_plans cycle_option data
     data_page_checksum_version data_type database database_block_size datid datoid dbid
     default_version description dictionaries dictionary end_lsn end_of_backup_record_required
     enumvals error external_id extra_desc f1 f2 f3 f4 f5 f6 f7 f8 f9 failed_count fastpath
     file_name file_offset fkcols fktable float8_pass_by_value flush_lag flush_lsn flushed_lsn
     flushes free_bytes free_chunks frequency from_sql full_page_writes generic_plans gid
     granted grantee grantor gss_auth gss_enc gss_princ hit ident identity in_extension
     increment index io_depth is_array is_binary is_dst is_grantable is_holdable is_opt
     is_scrollable is_temporary isdir isleaf key labelfile large_object_chunk_size
     last_archived_time last_archived_wal last_failed_time last_failed_wal
     last_msg_receipt_time last_msg_send_time latest_end_lsn latest_end_time leader_pid level
     lexeme lexemes line_number local_id local_lsn locktype lsn map_name max_data_alignment
     max_identifier_length max_index_columns max_toast_chunk_size max_val maximum_value
     min_recovery_end_lsn min_recovery_end_timeline min_val minimum_value mode modification n
     name ndoc nentry netmask newest_commit_ts_xid next_multi_offset next_multixact_id
     next_oid next_xid normal nulls object_args object_identity object_name object_names
     object_type objid objsubid off oid oldest_active_xid oldest_commit_ts_xid
     oldest_multi_dbid oldest_multi_xid oldest_xid oldest_xid_dbid option_name option_value
     options ordinality original ownerid page param1 param10 param11 param12 param13 param14
     param15 param16 param17 param18 param19 param2 param20 param3 param4 param5 param6 param7
     param8 param9 parameter_types parent parentrelid path pending_restart
     pg_control_last_modified pg_control_version pg_username pid pkcols pktable plugin
     positions prefetch prepare_time prepared prev_timeline_id privilege_type qual query
     query_id query_start receive_start_lsn receive_start_tli received_lsn received_tli
     redo_lsn redo_wal_file relation relid relocatable remote_lsn replay_lag replay_lsn
     reply_time requires reset_val restart_lsn rm_builtin rm_id rm_name roident safe_wal_size
     schema schema_name sender_host sender_port sent_lsn seqno setting short_desc size
     skip_fpw skip_init skip_new skip_rep slot_name slot_type source sourcefile sourceline
     spcmapfile spill_bytes spill_count spill_txns ssl ssl_client_dn ssl_client_serial
     ssl_issuer_dn sslbits sslcipher sslversion start_value state state_change statement
     stats_reset status stream_bytes stream_count stream_txns subid superuser sync_error_count
     sync_priority sync_state sys_name system_identifier target temporary timeline_id
     timestamp token tokid total_bytes total_nblocks total_txns transaction transactionid
     truncates trusted tuple two_phase type unit used_bytes user_name usesysid utc_offset
     value values vartype version virtualtransaction virtualxid wait_event wait_event_type
     waitstart wal_block_size wal_buffers_full wal_bytes wal_distance wal_fpi wal_records
     wal_status wal_sync wal_sync_time wal_write wal_write_time weights word write_lag
     write_lsn written_lsn x xact_start xid xmin";

/// Functions of `information_schema`, which drivers use to list keys.
pub(super) const INFORMATION_SCHEMA_FUNCTIONS: &str =
    "_pg_expandarray _pg_truetypid _pg_truetypmod _pg_char_max_length _pg_char_octet_length
     _pg_numeric_precision _pg_numeric_precision_radix _pg_numeric_scale _pg_datetime_precision
     _pg_interval_type _pg_index_position";
