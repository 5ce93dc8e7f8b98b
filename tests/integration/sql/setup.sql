-- The tables that the read_*.sql files ask about.
create table person (
	id int primary key, name text not null, boss int, born date, salary numeric(10,2), height float8, active boolean,
	tag varchar(8), code char(4));
insert into person values
	(1, 'Ada', null, '1815-12-10', 9000.00, 1.65, true, 'a', 'AA'),
	(2, 'Bob', 1, '1970-01-01', 4500.50, 1.80, true, 'b', 'B'),
	(3, 'Cyd', 1, '1999-12-31', 4500.50, null, false, null, 'C'),
	(4, 'Dan', 2, null, null, 1.72, null, 'a', null),
	(5, 'Eve', 2, '2000-02-29', 3000.00, 1.72, true, 'c', 'AA'),
	(6, 'Fay', 3, '2024-02-29', 0.00, 'nan', false, '', ''),
	(7, 'Gus', 99, '0044-03-15 BC', -1.25, '-inf', null, 'a', 'G'),
	(8, 'Éva', 5, '1985-07-04', 3000.00, 1.60, true, 'ß', 'É');
create table item (k1 int, k2 text, qty smallint, price numeric, at timestamp, atz timestamptz, d interval, t time,
	raw bytea, f4 float4, primary key (k1, k2));
create index item_qty on item (qty desc);
create index item_price on item (price desc nulls last, k1);
create unique index item_raw on item (raw);
insert into item values
	(1, 'a', 5, 1.10, '2024-01-31 23:59:59.5', '2024-01-31 23:59:59.5+02', '1 mon', '00:00', '\x00', 1.5),
	(1, 'b', 5, 1.1, '2024-02-29', '2024-02-29 00:00+00', '-1 day 02:03:04', '23:59:59.999999', '\x0001', -0.0),
	(2, 'a', null, null, null, null, null, null, null, null),
	(2, 'c', -3, 12345678901234567890.123456789, '1999-12-31 23:59', '1999-12-31 23:59-08', '1 year 2 mons', '12:00', '\xdeadbeef', 'nan'),
	(3, '', 32767, 0, 'infinity', '-infinity', '00:00:00.000001', '24:00', '', 3.4e38),
	(3, 'a', 0, -0.5, '0001-01-01', '0001-01-01 00:00+00', '1000 hours', '01:02:03', null, 1e-30),
	(4, 'z', 7, 'nan', '2024-06-30 12:00', '2024-06-30 12:00+00', '36:00', '12:34:56.7', '\xff', 16777217);
create table big (id bigint primary key, grp int not null, v int, w numeric(8,3), txt text, ok boolean, day date);
insert into big select i, i % 17, case when i % 11 = 0 then null else (i * 7919) % 1000 end, (i % 400) / 8.0,
	'row ' || i, case i % 3 when 0 then true when 1 then false end, date '2024-01-01' + (i % 366)::int from generate_series(1, 3000) i;
create index big_grp on big (grp, v desc);
create index big_v on big (v);
create unique index big_txt on big (txt desc);
create index big_day on big (day nulls first, id desc);
create table l (a int, b text);
create table r (a int, b text, c int);
insert into l values (1, 'x'), (2, 'y'), (2, 'y'), (3, null), (null, 'n'), (5, 'z');
insert into r values (1, 'x', 10), (2, 'y', 20), (2, 'q', 21), (3, null, 30), (null, 'n', 40), (7, 'w', 70);
create table tv (v boolean);
insert into tv values (true), (false), (null);
create table empty (a int primary key, b text);
