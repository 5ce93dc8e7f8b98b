-- COPY both ways, text and csv
create table c (a int primary key, b text, n numeric(6,2), d date, f boolean);
copy c from stdin;
1	plain	1.5	2024-01-01	t
2	\N	\N	\N	\N
3		0	infinity	f
4	tab\there\nnewline\\back\rcr	-1	2024-02-29	true
5	\101\x41\b\f\v\q	999.999	0044-03-15 BC	0
6	quote"and,comma	1	epoch	no
\.
copy c to stdout;
copy c (b, a) to stdout;
copy c to stdout (format csv);
copy c to stdout csv header;
copy c to stdout (format csv, delimiter ';', null 'NULL', quote '''', force_quote (b, d));
copy c to stdout (format csv, force_quote *);
copy c to stdout (delimiter '|', null '');
copy (select a, b is null, array[a, null], n from c order by a desc) to stdout;
copy (select 'a\b', E'x\ty', E'line\nbreak', '\.', null) to stdout;
copy (select 'a\b', E'x\ty', E'line\nbreak', '\.', null, '', ' pad ', 'q"q') to stdout csv;
copy (values (1, 'x'), (2, null)) to stdout;
delete from c;
copy c from stdin (format csv);
1,"quoted ""q"", and
newline",1.25,2024-01-01,t
2,,,,
3,"",3,,
4, spaces ,4,,
5,\N,5,,
6,"\.",6,,
\.
select a, b, b is null, n, d, f from c order by a;
delete from c;
copy c (b, a) from stdin (format csv, header, null 'NIL', delimiter ';');
b;a
x;1
NIL;2
"NIL";3
;4
\.
select a, b from c order by a;
copy c (a, b) from stdin (format csv, force_not_null (b));
10,
11,""
\.
copy c (a, b) from stdin (format csv, force_null (b));
12,
13,""
\.
copy c (a, b) from stdin (null 'NUL', delimiter ',');
20,NUL
21,a\,b
22,\NUL
\.
select a, b, b is null from c where a >= 10 order by a;
copy c from stdin;
100	x	1
\.
copy c from stdin;
100	x	1	2024-01-01	t	extra
\.
copy c from stdin;
xx	x	1	2024-01-01	t
\.
copy c from stdin;
100	x	1	2024-01-01	t
101	x	99999	2024-01-01	t
\.
copy c from stdin;
200	ok	1	2024-01-01	t
1	dup	1	2024-01-01	t
\.
copy c (b) from stdin;
nokey
\.
copy c from stdin csv;
300,"unterminated
\.
copy c (a, b) from stdin (format csv, header match);
a,x
1,2
\.
select count(*) from c where a >= 100;
copy c (nosuch) to stdout;
copy c (a, a) to stdout;
copy c to stdout (format nosuch);
copy c to stdout (delimiter 'xx');
copy c to stdout (format csv, quote 'xx');
copy c to stdout (nosuch true);
copy c (a) from stdin;
\.
begin;
copy c (a) from stdin;
500
501
\.
select count(*) from c where a >= 500;
rollback;
select count(*) from c where a >= 500;
create table cs (id serial, v text default 'dv', k int check (k > 0));
copy cs (k) from stdin;
1
2
\.
copy cs (k) from stdin;
-1
\.
select v, k from cs order by k;
create table cb (b bytea, t timestamp, z timestamptz, i interval, x text[], g float8, ch char(4), v varchar(3));
copy cb from stdin;
\\x00ff	2024-01-01 10:00:00.5	2024-01-01 10:00+02	1 day 02:00	{a,"b c",NULL}	1e-7	ab	xyz
\\x	-infinity	infinity	-1 mon	{}	NaN	\N	\N
\.
copy cb to stdout;
copy cb to stdout csv;
copy cb (v) from stdin;
toolong
\.
copy cb (ch) from stdin;
é é  
\.
select '[' || ch || ']', length(ch) from cb where ch is not null order by ch;
drop table c, cs, cb;
