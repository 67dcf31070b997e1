\set ON_ERROR_STOP 0
\pset pager off
\set VERBOSITY verbose
create schema if not exists app;
create type app.mood as enum ('sad', 'ok', 'happy');
create table app.people (id serial primary key, name text not null, mood app.mood, doc jsonb, at timestamptz default '2026-01-01 00:00:00+00');
create index on app.people (name);
create view app.happy as select * from app.people where mood = 'happy';
insert into app.people (name, mood, doc) values ('ann', 'happy', '{"a": [1, 2]}'), ('bob', 'sad', null), ('cy', null, '[]') returning *;
-- What psql asks by itself.
\d
\d app.people
\d+ app.happy
\dt app.*
\di app.*
\dv app.*
\dn
\dT app.*
\du
\l
\df app.*
\dx
\dp app.people
\conninfo
\encoding
\sf pg_catalog.now()
\sv app.happy
-- Shapes of statements.
select * from app.people order by id;
select count(*), mood from app.people group by mood order by 2 nulls first;
select name, mood, id from app.people order by 1, 2 \crosstabview
select 1 as one, 'two' as two \gset got_
\echo :got_one :got_two
select id, name from app.people \gdesc
select format('select %L as generated', name) from app.people order by id \gexec
select 1 \; select 2 \; select 3;
update app.people set name = upper(name) where id = 1 returning name;
delete from app.people where name = 'bob';
with moved as (delete from app.people where id = 3 returning *) insert into app.people (name, mood, doc) select name, mood, doc from moved returning name;
merge into app.people p using (values ('ANN', 'ok'), ('dee', 'sad')) as v (name, mood) on p.name = v.name when matched then update set mood = v.mood::app.mood when not matched then insert (name, mood) values (v.name, v.mood::app.mood);
explain (costs off) select * from app.people;
explain (analyze, costs off, timing off, summary off) select 1;
table app.people;
values (1, 'a'), (2, 'b');
-- Errors, and errors inside transactions.
select 1/0;
\errverbose
select * from no_such_table;
insert into app.people (name) values (null);
begin;
insert into app.people (name) values ('in a transaction');
savepoint s;
select 1/0;
select 'ignored until the savepoint';
rollback to s;
select 'and on';
commit;
begin;
select nonsense;
select 'ignored';
commit;
begin isolation level serializable read only;
insert into app.people (name) values ('x');
rollback;
-- Cursors, prepared statements, fetching in pieces.
begin;
declare c scroll cursor with hold for select generate_series(1, 10) as n;
fetch 3 from c;
move 2 in c;
fetch backward 1 from c;
commit;
close c;
prepare by_name (text) as select id, name from app.people where name = $1;
execute by_name ('ANN');
execute by_name ('nobody');
deallocate by_name;
execute by_name ('ANN');
\set FETCH_COUNT 3
select n, n * n as square from generate_series(1, 10) as n;
\unset FETCH_COUNT
-- COPY, each way.
copy app.people (name, mood) from stdin;
eve	ok
fay	\N
\.
copy app.people (name) from stdin with (format csv);
"g, h"
\.
copy app.people (id) from stdin;
not a number
\.
copy (select name, mood from app.people order by name) to stdout;
copy (select name, doc from app.people order by name) to stdout with (format csv, header);
copy (select 1/0) to stdout;
\copy (select name from app.people order by name) to stdout
-- Functions, procedures, notices.
create function app.twice(x int) returns int language sql as 'select 2 * x';
create procedure app.shout() language plpgsql as $body$ begin raise notice 'a notice; with a semicolon'; raise info 'info'; end $body$;
select app.twice(21);
call app.shout();
do $$ declare i int; begin for i in 1..3 loop raise notice 'round %', i; end loop; end $$;
do $$ begin raise exception 'out' using detail = 'the detail', hint = 'the hint', errcode = 'P0042'; end $$;
-- Notifications, delivered with the next exchange.
listen channel;
notify channel, 'payload';
select 'the notification came before this' as note;
unlisten *;
-- Settings and roles.
set search_path = app, public;
select name from people order by 1 limit 1;
show search_path;
reset search_path;
set role scram;
select current_user, session_user;
reset role;
set local statement_timeout = '1s';
set statement_timeout = '100ms';
select pg_sleep(5);
reset statement_timeout;
-- Large objects: psql calls functions by number for these.
\lo_import :blob 'a comment'
select lo_unlink(:LASTOID);
-- Types and text that are easily broken.
select E'tab\there', 'quote''quote', U&'\00e4', 'ünïcödé', '', null, true, 1.50::numeric, 'NaN'::float8, '\xdeadbeef'::bytea, '{1,2}'::int[], interval '1 day', date 'infinity';
select repeat('wide', 3000) as w \g /dev/null
select repeat('x', 100000) like '%x' as wide;
select n from generate_series(1, 5000) as n \g /dev/null
select /* comment; with semicolon */ 1 -- and; another
;
select $q$ dollar ' quoted ; $q$ as d;
\timing off
\x on
table app.people;
\x off
drop schema app cascade;
\echo the last line of the script
