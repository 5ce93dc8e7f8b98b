-- psql's descriptions
create table d1 (id serial primary key, a int not null default 5, b varchar(20), c numeric(8,2) default 1.5, d timestamp(3) with time zone, e text[], f char(3), g interval, constraint a_pos check (a > 0));
create unique index d1_b on d1 (b desc, c);
create index d1_d on d1 (d nulls first);
alter table d1 add constraint d1_uq unique (a, b);
create table d2 (k1 int, k2 text, primary key (k1, k2));
create sequence dsq start 10 increment 5;
create table d3 (i int, j bigint);
\pset tuples_only off
\d d1
\d d2
\d d3
\d dsq
\d d1_b
\d d1_pkey
\d nosuch
\dt d*
\di d1*
\ds d*
\dt nosuch*
\d d?
\dn public
\df nosuch
\du nosuch
\x on
select 1 as a, 'x' as b;
\x off
\gset
select 5 as five, 'six' as six \gset
\echo :five :'six'
select :five + 1 as r;
select id, a from d1 \gdesc
select format('select %s', g) from generate_series(1, 2) g \gexec
\pset format aligned
select 1 as num, 'text' as txt, null as n, 1.50 as dec, true as b, date '2024-01-01' as d, '{1}'::int[] as arr;
table d2;
\pset format unaligned
select relname, relkind, relnatts from pg_class where relname like 'd_' order by 1;
select attname, format_type(atttypid, atttypmod), attnotnull, attnum, atthasdef from pg_attribute where attrelid = 'd1'::regclass and attnum > 0 order by attnum;
select conname, contype, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'd1'::regclass order by 1;
select indexrelid::regclass, indisunique, indisprimary, pg_get_indexdef(indexrelid) from pg_index where indrelid = 'd1'::regclass order by 1::text;
select table_name, table_type from information_schema.tables where table_schema = 'public' and table_name like 'd_' order by 1;
select column_name, ordinal_position, is_nullable, data_type, character_maximum_length, numeric_precision, numeric_scale, datetime_precision, udt_name from information_schema.columns where table_name = 'd1' order by 2;
select constraint_name, constraint_type from information_schema.table_constraints where table_name = 'd2' and constraint_type = 'PRIMARY KEY';
select constraint_name, column_name, ordinal_position from information_schema.key_column_usage where table_name in ('d1', 'd2') order by 1, 3;
select tablename, tableowner, hasindexes from pg_tables where tablename like 'd_' order by 1;
select indexname, indexdef from pg_indexes where tablename = 'd1' order by 1;
select current_schema(), current_schemas(false), current_database(), current_user, session_user;
select typname, typlen, typtype, typcategory from pg_type where oid in (16, 20, 23, 25, 1043, 1700, 1114, 1184, 1007) order by oid;
select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = 'd1'::regclass order by adnum;
select has_table_privilege('d1', 'select'), pg_table_is_visible('d1'::regclass), obj_description('d1'::regclass), to_regclass('nosuch'), to_regclass('d1');
\pset tuples_only on
drop table d1, d2, d3;
drop sequence dsq;
