/*
 * names.h - other names for pgwire and for what it calls, so that the tests' own copy of pgwire runs against fake_sql.c
 * in one program with the real ones. Generated from the declarations; add a line for each new global function.
 */
#ifndef VALENCE_TESTS_PGWIRE_NAMES_H
#define VALENCE_TESTS_PGWIRE_NAMES_H

#define pg_conn_consumed fake_pg_conn_consumed
#define pg_conn_deadline_us fake_pg_conn_deadline_us
#define pg_conn_eof fake_pg_conn_eof
#define pg_conn_free fake_pg_conn_free
#define pg_conn_input fake_pg_conn_input
#define pg_conn_new fake_pg_conn_new
#define pg_conn_output fake_pg_conn_output
#define pg_conn_started fake_pg_conn_started
#define pg_conn_step fake_pg_conn_step
#define pg_conn_timeout fake_pg_conn_timeout
#define pg_conn_unblocked fake_pg_conn_unblocked
#define pg_conn_wants_input fake_pg_conn_wants_input
#define pg_server_free fake_pg_server_free
#define pg_server_new fake_pg_server_new
#define pg_server_sessions fake_pg_server_sessions
#define pg_server_shutdown fake_pg_server_shutdown
#define pgw_available fake_pgw_available
#define pgw_begin fake_pgw_begin
#define pgw_bind fake_pgw_bind
#define pgw_cancel fake_pgw_cancel
#define pgw_close fake_pgw_close
#define pgw_columns_free fake_pgw_columns_free
#define pgw_consume fake_pgw_consume
#define pgw_copy_in fake_pgw_copy_in
#define pgw_copy_in_begin fake_pgw_copy_in_begin
#define pgw_copy_out fake_pgw_copy_out
#define pgw_copy_out_begin fake_pgw_copy_out_begin
#define pgw_cstr fake_pgw_cstr
#define pgw_describe fake_pgw_describe
#define pgw_empty fake_pgw_empty
#define pgw_end fake_pgw_end
#define pgw_error fake_pgw_error
#define pgw_execute fake_pgw_execute
#define pgw_fail fake_pgw_fail
#define pgw_failf fake_pgw_failf
#define pgw_fatal fake_pgw_fatal
#define pgw_formats_clear fake_pgw_formats_clear
#define pgw_formats_find fake_pgw_formats_find
#define pgw_front fake_pgw_front
#define pgw_interrupt fake_pgw_interrupt
#define pgw_move fake_pgw_move
#define pgw_notice fake_pgw_notice
#define pgw_parameter fake_pgw_parameter
#define pgw_parse fake_pgw_parse
#define pgw_query fake_pgw_query
#define pgw_ready fake_pgw_ready
#define pgw_room fake_pgw_room
#define pgw_row_description fake_pgw_row_description
#define pgw_rows fake_pgw_rows
#define pgw_run fake_pgw_run
#define pgw_run_bind fake_pgw_run_bind
#define pgw_run_prepare fake_pgw_run_prepare
#define pgw_scratch fake_pgw_scratch
#define pgw_session_close fake_pgw_session_close
#define pgw_session_open fake_pgw_session_open
#define pgw_spend fake_pgw_spend
#define pgw_startup fake_pgw_startup
#define pgw_sync fake_pgw_sync
#define pgw_tag fake_pgw_tag
#define pgw_waits fake_pgw_waits
#define sql_bind fake_sql_bind
#define sql_copy_data fake_sql_copy_data
#define sql_copy_done fake_sql_copy_done
#define sql_copy_fail fake_sql_copy_fail
#define sql_parse fake_sql_parse
#define sql_portal_close fake_sql_portal_close
#define sql_portal_find fake_sql_portal_find
#define sql_portal_shape fake_sql_portal_shape
#define sql_portal_step fake_sql_portal_step
#define sql_prepare fake_sql_prepare
#define sql_prepare_raw fake_sql_prepare_raw
#define sql_prepared_close fake_sql_prepared_close
#define sql_prepared_find fake_sql_prepared_find
#define sql_prepared_params fake_sql_prepared_params
#define sql_prepared_shape fake_sql_prepared_shape
#define sql_session_cancel fake_sql_session_cancel
#define sql_session_deadline_us fake_sql_session_deadline_us
#define sql_session_error fake_sql_session_error
#define sql_session_free fake_sql_session_free
#define sql_session_idle fake_sql_session_idle
#define sql_session_idle_expired fake_sql_session_idle_expired
#define sql_session_new fake_sql_session_new
#define sql_session_report fake_sql_session_report
#define sql_session_set fake_sql_session_set
#define sql_session_status fake_sql_session_status
#define sql_session_terminate fake_sql_session_terminate
#define sql_sync fake_sql_sync

#endif
