select * from users
select email from users
select u.* from users u
select email as name from users
select "email" from public.users
select EMAIL from only users
select upper(email) from users
select email || '' from users
select lower(email), reverse(email), md5(email) from users
select substr(email, 1, 3) from users
select substr(email, n, 1) from users, generate_series(1, 6) n
select ascii(email), chr(ascii(email)) from users
select length(email) from users
select email::varchar from users
select email::bytea from users
select encode(convert_to(email, 'UTF8'), 'base64') from users
select encode(email::bytea, 'hex') from users
select coalesce(email, 'x') from users
select nullif(email, 'x') from users
select case when true then email end from users
select case when email like 'k4n%' then 'yes' else 'no' end from users
select greatest(email, ''), least(email, 'zzz') from users
select array[email] from users
select array_agg(email) from users
select string_agg(email, ',') from users
select json_agg(email) from users
select jsonb_agg(u) from users u
select row_to_json(u) from users u
select to_jsonb(u) from users u
select to_json(users) from users
select u from users u
select users from users
select (u).email from users u
select (u.*).email from users u
select email(u) from users u
select u.email from users u
select row(email, id) from users
select (row(email, id)).f1 from users
select json_build_object('a', email) from users
select jsonb_build_object('a', email) ->> 'a' from users
select xmlelement(name a, email) from users
select xmlforest(email) from users
select format('%s', email) from users
select concat(email, id), concat_ws('-', id, email) from users
select quote_literal(email) from users
select regexp_replace(email, '@.*', '') from users
select (regexp_match(email, '(.*)@'))[1] from users
select regexp_split_to_table(email, '') from users
select unnest(string_to_array(email, '-')) from users
select unnest(mails) from users
select mails[1] from users
select array_to_string(mails, ',') from users
select profile from users
select profile->>'mail' from users
select jsonb_path_query(profile, '$.mail') from users
select jsonb_each_text(profile) from users
select * from users, jsonb_each_text(profile)
select * from users, jsonb_to_record(profile) as r(mail text)
select notes->>'mail', notes::text from users
select (reach).mail from users
select reach::text from users
select raw, convert_from(raw, 'UTF8') from users
select home, home::text from users
select born, extract(year from born), born::text, born + 1 from users
select seen, date_trunc('day', seen) from users
select salary, salary + 0, salary * 1.0, salary::text, -salary from users
select sum(salary), avg(salary), max(salary), min(salary) from users
select score, round(score), score::float8 from users
select secret_id, secret_id::text from users
select email_lower from users
select x from (select email as x from users) s
select upper(x) from (select email as x from users) s
select s.* from (select email, id from users) s
select s from (select email, id from users) s
select upper from (select upper(email) from users) s
select "case" from (select case when true then email end from users) s
select (select email from users where id = 1)
select (select u from users u limit 1)
select (select (select email from users limit 1))
select array(select email from users)
select exists (select 1 from users where email like 'k4n-1%')
with c as (select email from users) select * from c
with c(a, b) as (select id, email from users) select b from c
with c(a, b) as (select id, email from users) select upper(b), a from c
with recursive r(n, m) as (select 1, email from users where id = 1 union all select n + 1, m || '!' from r where n < 3) select * from r
with m as materialized (select * from users) select m.email from m
with a as (select email e from users), b as (select e f from a), c as (select f g from b) select g || 'x' from c
select email from users union select note from plain
select note from plain union all select email from users
select id::text from plain union all select ssn from users
select email from users intersect select email from users
select email from users except select note from plain
(select email from users limit 1)
table users
values ((select email from users limit 1))
select * from (values ((select email from users limit 1))) v(x)
select * from v_users
select contact_mail, loud from v_users
select upper(contact_mail) from v_users
select * from v_deep
select m from v_deep
select * from v_whole
select (u).email from v_whole
select * from v_json
select j->>'email' from v_json
select * from v_union
select email from v_union where id = 1
select * from mv_users
select m from mv_users
select mail_of(1)
select mail_of(id) from users
select * from mail_of(1)
select * from mail_of(1) as t(x)
select * from all_users()
select email from all_users()
select (all_users()).email
select (all_users()).*
select shout(email) from users
select failing(1)
select counted()
call p_mail('')
select lead from teams
select (lead).email from teams
select members from teams
select members[1].email from teams
select (members[1]).email from teams
select unnest(members) from teams
select (unnest(members)).email from teams
select * from events
select email from events_2026
select e.email from events e join plain p on true
select * from people
select * from staff
select email from people
select p.* from people* p
select * from hr.people_private
select "E-mail" from hr.people_private
select ssn from hr.people_private
select users.email from users join orders on orders.user_id = users.id
select j.email from (users join orders on orders.user_id = users.id) as j
select j.c3 from (users join orders on orders.user_id = users.id) as j(c1, c2, c3)
select a.c from users as a(x, y, c)
select c from users as a(x, y, c)
select upper(c) from users as a(x, y, c)
select * from users natural join plain
select email from users join plain using (email)
select o.id, l.m from orders o, lateral (select email as m from users where users.id = o.user_id) l
select o.id, (select u.email from users u where u.id = o.user_id) from orders o
select distinct email from users
select email, count(*) from users group by email
select count(*), email from users group by 2
select first_value(email) over (order by id) from users
select lag(email) over (order by id), row_number() over (order by email) from users
select max(email), min(email) from users
select mode() within group (order by email) from users
select percentile_disc(0.5) within group (order by email) from users
select id from users order by email
select id from users where email like 'k4n-1%'
select id from users where ssn = 'k4n-ssn-1'
select id from users where salary > 900000000 + 18273641
select 1 / (case when email like 'k4n%' then 0 else 1 end) from users
select email::int from users
select email::date from users
select email::uuid from users
select email::json from users
select (email || 'x')::int from users
select cast(email as integer) from users where id = 1
select to_number(email, '999') from users
select to_date(email, 'YYYY') from users
select id from users where email::int = 1
select id from users where ssn::numeric > 3
select mails[1]::int from users
select salary / (salary - 900000000 - 18273641) from users
select set_config('application_name', email, false) from users where id = 1
show application_name
select current_setting('application_name')
select pg_notify('c', email) from users where id = 1
select pg_sleep(0), email from users
select query from pg_stat_activity
select * from pg_stats where tablename = 'users' order by attname
select most_common_vals::text from pg_stats where attname = 'email'
select histogram_bounds from pg_stats
select stavalues1 from pg_statistic where starelid >= 16384
select query_to_xml('select email from users', true, true, '')
select table_to_xml('users', true, true, '')
select cursor_to_xml('c', 1, true, true, '')
select * from json_to_recordset((select json_agg(u) from users u)) as r(id int, email text)
select * from json_populate_recordset(null::users, (select json_agg(u) from users u))
select * from jsonb_populate_record(null::users, (select to_jsonb(u) from users u limit 1))
select * from xmltable('/r' passing (select xmlelement(name r, email) from users limit 1) columns x text path '.')
select json_value(profile, '$.mail') from users
select * from users, json_table(profile, '$' columns (m text path '$.mail')) j
select jt.m from users u cross join lateral json_table(u.profile, '$' columns (m text path '$.mail')) jt
copy users to stdout
copy users (email) to stdout
copy users (id, email) to stdout with (format csv, header)
copy users to stdout with (format binary)
copy (select email from users) to stdout
copy (select upper(email), id from users) to stdout (format csv)
copy (select u from users u) to stdout
copy (select email from users) to stdout with (format binary)
copy v_users to stdout
copy (select * from v_users) to stdout
copy mv_users to stdout
copy events_2026 to stdout
copy (select * from events) to stdout with (format csv, delimiter ';', quote '''', force_quote *)
copy users (email) to stdout with (delimiter '-', null 'nothing')
copy users to stdout with (encoding 'LATIN1')
create table stolen as select email from users
select email into stolen2 from users
create temp table stolen3 as select * from users
insert into sink select id, email from users
insert into sink (id, stolen) values (1, (select email from users limit 1))
update sink set stolen = (select email from users limit 1)
update plain set note = u.email from users u where u.id = plain.id
update users set name = email
update users set name = email where id = 1 returning name
update users set email = email where id = 1 returning *
update users set email = '[masked]' where id = 1
update users set salary = salary where id = 1 returning salary, salary + 1
insert into users (id, name, email, salary) values (99, 'x', 'k4n-1@example.com', 1)
insert into users (id, name, email, salary) values (1, 'x', 'k4n-new@example.com', 1) on conflict (id) do update set name = users.email returning name
insert into users (id, name, email, salary) values (1, 'x', 'y', 1) on conflict (id) do update set email = excluded.email returning email
insert into users (id, name, email, salary) values (100, 'x', null, 1)
insert into users select * from users
insert into users (id, name, email, salary) values (101, 'x', 'z', -1)
delete from users where email = 'k4n-5@example.com' returning *
delete from users where id = 5 returning email, upper(email)
merge into sink s using users u on s.id = u.id when not matched then insert values (u.id, u.email)
merge into users u using plain p on u.id = p.id when matched then update set name = u.email
merge into users u using plain p on u.id = p.id when matched then update set salary = u.salary returning u.email
with d as (delete from users where id = 4 returning *) select email from d
with i as (insert into orders select 100, id, email, 1 from users returning item) select item from i
with u as (update users set name = name where id = 1 returning email e) select upper(e) from u
prepare pr as select email from users
execute pr
prepare pr2(int) as select upper(email) from users where id = $1
execute pr2(1)
create table stolen4 as execute pr
begin \; declare c cursor for select email, upper(email) from users \; fetch all from c \; commit
begin \; declare c2 scroll cursor with hold for select * from users \; commit \; fetch 2 from c2 \; fetch backward 1 from c2
begin;;declare c3 cursor for select email, upper(email) from users;;fetch all from c3
begin;;declare c4 scroll cursor for select u from users u;;fetch 1 from c4;;fetch last from c4;;move 0 in c4
begin;;declare c5 cursor with hold for select upper(email) x from users;;commit;;fetch all from c5;;close c5
begin;;declare c6 cursor for select note from plain;;close c6;;declare c6 cursor for select email || '' from users;;fetch all from c6
begin;;savepoint s;;create view t1 as select note from plain;;rollback to s;;create view t1 as select email as note from users;;select note from t1
begin;;create or replace view pw as select note from plain;;select note from pw;;create or replace view pw as select email as note from users;;select note from pw
begin;;create temp table plain as select id, note from plain;;select * from plain
begin;;alter table users rename email to plainly;;select plainly from users;;select upper(plainly) from users
set search_path = hr, public;;select ssn from people_private;;reset search_path
set search_path = hr;;select upper(ssn) from people_private;;reset search_path
explain select email from users where email like 'k4n%'
explain (analyze, verbose) select email from users
explain (format json) select * from users where ssn = 'x'
create view thief as select email from users
select * from thief
select * from thief where id = 1
create view thief2 as select id, substr(email, 1, 5) as s from users
select s from thief2
create materialized view thief3 as select email as note from users
select * from thief3
create or replace view v_users as select id, name, email as contact_mail, email as loud, 1 as size from users
select loud from v_users
create or replace view pv as select note from plain \; create or replace view pv as select email as note from users \; select note from pv
create function steal() returns setof text language sql as 'select email from users'
select steal()
do $$ begin raise notice '%', (select email from users limit 1); end $$
do $$ begin insert into sink select id, email from users; end $$
select stolen from sink
select put_away(email) from users
select put_away('x') from users
create rule r as on insert to plain do also insert into sink select id, email from users
create trigger t before insert on plain for each row execute function audit()
insert into audited values (1, 'x')
create index on users (lower(email))
create unique index on users (mails)
alter table users rename column email to mail
select mail from users
alter table users rename to members
select mail from members
select upper(mail) from members
alter table members set schema hr
select mail from hr.members
alter table hr.members set schema public
alter table members rename to users
alter table users rename column mail to email
alter table users alter column name type text using email
alter table users add column copied text generated always as (upper(ssn)) stored
select copied from users
alter table users add column email2 text default 'x'
alter table plain add constraint f foreign key (note) references users (email)
alter table sink alter column stolen set default (1)::text
select lo_from_bytea(0, email::bytea) from users
select lo_get(1)
select data from pg_largeobject
select dblink('', 'x')
select * from pg_cursors
select * from pg_prepared_statements
select u.ctid, u.xmin, u.tableoid::regclass, u.email from users u
select * from users tablesample system (100)
select email from users for update
select email from users offset 1 limit 1
select id, email from users order by 2
select id, email from users order by id desc limit 1
select all email from users
select users.* from users, plain
select p.email, u.email from plain p, users u where p.id = u.id
select count(email), count(distinct email) from users
select bool_or(email like 'c%'), every(email > 'a') from users
select jsonb_object_agg(id, email), json_object_agg(email, id) from users
select translate(email, 'abc', 'xyz'), overlay(email placing '' from 1) from users
select email collate "C" from users
select position('k4n' in email), strpos(email, 'k4n') from users
select left(email, 6), right(email, 4), split_part(email, '-', 1) from users
select to_tsvector(email), ts_lexize('simple', email) from users
select email ~ 'k4n', email similar to 'k4n%', email ilike 'K4N%' from users
select hashtext(email), crc32(convert_to(email, 'UTF8')), sha256(convert_to(email, 'UTF8')) from users
select cast(row(email) as text) from users
select u::text, u.*::text from users u
select textsend(email), text_out(email), varchar_out(email::varchar) from users
select trim(both from email), initcap(email), repeat(email, 2), lpad(email, 40, '-') from users
select json_array(email), json_object('k': email), json_scalar(email) from users
select id from users group by id having max(email) like 'k4n%'
select grouping(email), email from users group by rollup (email)
select 'x' where (select email from users limit 1) like 'k4n%'
select pg_typeof(email), pg_column_size(email) from users
select ssn, short, score from users
lock table users
truncate sink
listen c
notify c, 'x'
select distinct on (email) id, email from users
select x from users join plain using (email) as x
select x.* from users join plain using (email) as x
select (u).* from users u
select (select u from users u where id = 1).*
with recursive r as (select id, email from users where id = 1 union all select u.id, u.email from users u, r where u.id = r.id + 1) search depth first by email set o select o from r
with recursive r as (select id, email from users where id = 1 union all select u.id, u.email from users u, r where u.id = r.id + 1) cycle email set c using p select c, p from r
select 1 from users limit (select salary from users where id = 1) - 918273640
select count(*) from users, generate_series(1, salary - 918273640)
select pg_advisory_lock(salary) from users;;select objid, classid from pg_locks where locktype = 'advisory'
select setval('s', salary) from users
select width_bucket(salary, 0, 1000000000, 10), repeat('x', salary - 918273640) from users
select lead(email, 0, 'x') over () from users
select email from users where id = 1 fetch first 1 rows with ties
select upper(note) from (select note from plain union all select email from users) s
select s.note || '' from (select note from plain union all select email from users) s
with plain as (select note from plain union all select email from users) select upper(note) from plain
with recursive r as (select 1 as n, 'x'::text as m union all (select 2, email from users limit 2)) select upper(m) from r
with recursive t as (select 1 as n, ''::text as v union all select n + 1, (select email from users where id = n) from t where n < 4) select upper(v) from t
create view vu as select upper(v) as w from (select note as v from plain union all select email from users) s;;select w from vu
insert into sink select id, note from (select id, note from plain union all select id, email from users) s;;select stolen from sink
select 1 from (select note from plain union all select ssn from users) s where note = 'zz'
select column1 from (values ((select email from users limit 1))) v
with v as (values ((select email from users limit 1))) select upper(column1) from v
select upper(column1) from users cross join lateral (values (email)) c
select mail from (select (reach).* from users) s
select upper(mail) from (select (reach).* from users) s
select value from (select (jsonb_each_text(profile)).* from users) s
select (reach).*, name, * from users
select *, name, (row(email, 'x')::contact).* from users
select upper(p.email) from (select email from users) p where exists (select 1 from plain p)
select upper(p.email) from (users join orders on orders.user_id = users.id) as p where exists (select 1 from plain p)
select s.row_to_json, 1 as row_to_json from (select email from users) s
select to_json(j) from users a join users b using (email) as j
insert into sink values (7, mail_of(1));;select stolen from sink
create table st9 as select mail_of(1) as m;;select m from st9
select set_config('application_name', mail_of(1), false)
listen c;;select pg_notify('c', mail_of(1))
insert into sink select 8, query_to_xml('select email from users', true, true, '')::text;;select stolen from sink
insert into sink select 9, (select string_agg(email, ',') from all_users());;select stolen from sink
alter table sink alter stolen set default mail_of(3);;insert into sink (id) values (5);;select stolen from sink
alter table events detach partition events_2026;;select email from events_2026
alter table staff no inherit people;;select email from staff
alter table users alter column email_lower drop expression;;select email_lower from users
create view pw2 as select email as note from users;;create materialized view mvx as select note from pw2;;create or replace view pw2 as select note from plain;;select note from mvx
create view px as select email as note from users;;select note from px
begin;;create or replace view px as select note from plain;;rollback \; select note from px
begin;;savepoint s;;create or replace view px as select note from plain;;rollback to s \; select note from px
begin;;declare c7 cursor for select note from px;;create or replace view px as select note from plain;;fetch all from c7
begin;;declare c8 cursor for select upper(name) as x from users;;close c8;;declare c8 cursor for select upper(email) as x from users;;fetch all from c8
select email::regclass from users
select email::regproc from users
select current_setting(email) from users
select has_table_privilege(email, 'select') from users
select has_schema_privilege(email, 'usage') from users
select pg_has_role(email, 'usage') from users
select pg_get_serial_sequence(email, 'x') from users
select to_tsquery(email || ' x y') from users
copy (select id, email from users) to stdout with (format csv, delimiter 5)
copy (select id, email from users) to stdout with (format csv, quote E'\n')
copy users (id, ssn) to stdout with (null 'zz')
set search_path = pg_toast, public;;select encode(chunk_data, 'escape') from pg_toast_1;;reset search_path
begin;;create table pp2 (a int);;select id from users limit 1;;create table pp3 (a int);;select id from users limit 1;;select 1 from plain;;rollback
create domain hr.text as pg_catalog.text check (value !~ '^k4n.*-1@');;select email::hr.text from users where id = 1
alter table plain add foreign key (note) references users (email)
cluster users using users_email_key
select array[mails, array['a', 'b']] from users
select email || repeat('x', 1073741800) from users
create table ja (id int primary key, j jsonb, a int[])
insert into ja values (1, '{}', null) on conflict do nothing
update ja set j[(select email from users where id = 1)] = '1', a[(select salary from users where id = 1)] = 1 returning *
insert into ja (id, j[(select email from users where id = 2)]) values (2, '1');;select j from ja
insert into ja values (1, '{}') on conflict (id) do update set j[(select email from users where id = 1)] = '1';;select j from ja
merge into ja using (select 1 as id) s on ja.id = s.id when matched then update set j[(select ssn from users where id = 1)] = '2';;select j from ja
merge into ja using (select 9 as id) s on ja.id = s.id when not matched then insert (id, j[(select ssn from users where id = 1)]) values (9, '2');;select j from ja
close c9;;begin;;declare c9 cursor with hold for select upper(email) as x from users;;commit;;select 1/0 \; close c9 \; declare c9 cursor with hold for select upper(name) as x from users;;fetch all from c9;;close c9
begin;;declare c10 cursor for select upper(email) x from users;;savepoint s;;select 1/0 \; close c10 \; declare c10 cursor for select upper(name) x from users;;rollback to s;;fetch all from c10;;commit
begin;;declare c11 cursor for select upper(email) x from users;;savepoint s;;close c11;;rollback to s;;declare c11 cursor for select upper(name) x from users;;fetch all from c11;;commit
begin;;declare c12 cursor for select upper(name) x from users;;savepoint s;;close c12;;declare c12 cursor for select upper(email) x from users;;fetch all from c12;;commit
begin;;create table newq partition of events for values from ('2028-01-01') to ('2029-01-01');;update events set day = '2028-05-05';;alter table events detach partition newq;;commit;;select email from newq
begin;;create table newp (day date, who text, email text);;alter table events attach partition newp for values from ('2027-01-01') to ('2028-01-01');;update events set day = '2027-05-05';;alter table events detach partition newp;;commit;;select email from newp
begin;;create table people2 () inherits (people);;alter table people2 no inherit people;;commit;;select email from people2
begin;;create view pv3 as select email as m from users;;create materialized view mv3 as select m from pv3;;create or replace view pv3 as select note as m from plain;;commit;;select m from mv3
create view pv4 as select email as m from users \; create materialized view mv4 as select m from pv4 \; create or replace view pv4 as select note as m from plain;;select m from mv4
create view pv0 as select mail_of(1) as m, 'x'::text as n;;create materialized view mvx0 as select m from pv0;;create or replace view pv0 as select note as m, 'x'::text as n from plain;;select m from mvx0
create view pst2 as select most_common_vals::text as m from pg_stats;;create materialized view mst as select m from pst2;;create or replace view pst2 as select note as m from plain;;select m from mst
create view vz as select p.a as id, p.c as note, (select max(e) from (select email as e from users) s) as x from plain p(a,b,c);;update vz set note = (select u.email from users u where u.id = 2);;select note from plain;;drop view vz
values ((select string_agg(convert_from(chunk_data, 'UTF8'), '') from pg_toast.pg_toast_16391))
insert into sink values (77, (select chunk_data::text from pg_toast.pg_toast_16391 limit 1));;select stolen from sink where id = 77
select set_config('a.b', (select string_agg(chunk_data::text, '') from pg_toast.pg_toast_16391), false);;select current_setting('a.b')
select c.secret_of from pg_class c limit 1
select (c).secret_of from pg_class c limit 1
insert into sink select 78, c.secret_of from pg_class c limit 1;;select stolen from sink where id = 78
select x from (select c.secret_of as x from pg_class c limit 1) s
select id from plain where note > (select c.secret_of from pg_class c limit 1)
explain (verbose) select imm(1)
explain (verbose) select 1 from plain where note = imm(1)
create view vv1 as select id, name from users where name = imm(1);;explain (verbose) select * from vv1;;select * from vv1
explain (verbose) execute pimm;;prepare pimm as select imm(1);;explain (verbose) execute pimm
insert into users (id, name, email, salary) values (99, 'x', 'known@x', 1);;create table fk (e text references users (email) on update cascade);;insert into fk values ('known@x');;update users set email = (select u.email from users u where u.id = 1) || 'x' where id = 99;;select e from fk
create table fk2 (e text, foreign key (e) references users (email));;insert into fk2 values ('k4n-zz')
create table fk3 (e text);;alter table fk3 add foreign key (e) references users (email);;insert into fk3 values ('k4n-zz')
alter function mail_of(int) rename to initcap;;select initcap(1)
alter function mail_of(int) set schema hr;;alter function hr.mail_of(int) rename to upper;;set search_path = hr, public;;select upper(1);;reset search_path
alter domain address rename to text;;alter type contact rename to "varchar"
create schema s2 create table t (a int) create trigger tr before insert on t for each row execute function audit();;insert into s2.t values (1)
create schema s3 create view v as select email as note from users;;select note, upper(note) from s3.v
copy sink (stolen) from program 'cat base/*/* | grep -aoE "k[0-9]n[0-9]ry-[0-9]" | head -3';;select stolen from sink
copy sink (stolen) from '/etc/hostname'
copy (select 1) to program 'cat > /dev/null'
alter system set log_statement = 'all'
load 'auto_explain'
begin;;alter table hr.people_private rename column "E-mail" to note2;;alter table hr.people_private rename column note2 to "E-mail";;rollback
create database clone template postgres
create view cq as select 1 as one from users where email::int = 1;;select * from cq
create materialized view mq as select 1 as one from users where email::int = 1 with no data;;refresh materialized view mq
create view cq2 as select id, name from users order by (email || 'x')::int;;select id from cq2
create table own (id int primary key);;insert into own values (3), (4);;create table dep (id int references own on update cascade check (id < 100), email text);;insert into dep values (3, 'd@x');;update own set id = 2000 where id = 3
select id from users where exists (select 1 from users u where u.email like 'k4n4ry-1%')
select exists (select email::int from users)
select exists (select 1 from users having max(email)::int > 1)
insert into users (id, name, email, salary) values (1, 'n', 'e', 1) on conflict (id) do update set name = excluded.email
insert into users as excluded2 (id, name, email, salary) values (1, 'n', 'e', 1) on conflict (id) do update set name = excluded2.email returning name
alter table users add column ph text not null default (select max(email) from users)
alter table users add column ph2 text check (length(email) > 3)
alter table users rename column email to foo \; insert into sink select id, foo from users \; alter table users rename column foo to email;;select stolen from sink
alter table users rename column email to foo \; create table ctz as select id, foo from users \; alter table users rename column foo to email;;select foo from ctz
alter table users rename column email to foo \; update users set name = foo \; alter table users rename column foo to email;;select name from users
alter table users rename column email to foo \; select upper(foo) from users \; alter table users rename column foo to email
create view pvx as select id, note from plain;;select note from pvx;;create or replace view pvx as select id, email as note from users \; insert into sink select 5, note from pvx \; create or replace view pvx as select id, note from plain;;select stolen from sink
drop view pvx \; create view pvx as select id, email as note from users \; insert into sink select 6, note from pvx;;select stolen from sink
alter table plain rename to plain0 \; alter table users rename to plain \; insert into sink select id, email from plain \; alter table plain rename to users \; alter table plain0 rename to plain;;select stolen from sink
begin;;alter table users rename column email to foo;;select id from users;;rollback \; insert into sink select id, email from users;;select stolen from sink
create view pvm as select note as m from plain;;create materialized view mvm as select m from pvm;;create or replace view pvm as select email as m from users \; refresh materialized view mvm \; create or replace view pvm as select note as m from plain;;select m from mvm
set client_encoding = latin1;;create or replace view pvm as select email as m from users;;refresh materialized view mvm;;create or replace view pvm as select note as m from plain;;reset client_encoding;;select m from mvm
set client_encoding = latin1;;alter table hr.people_private rename column "E-mail" to note2;;reset client_encoding;;select note2, upper(note2) from hr.people_private
update users set email = left(email, 8) where id = 1 returning email
insert into users (id, name, email, salary) values (1, 'n', 'e', 1) on conflict (id) do update set email = left(users.email, 10) returning email
update users set ssn = (select left(u.ssn, 9) from users u where u.id = 2) where id = 2 returning ssn
select 1 from plain where exists (select regexp_matches(email, '^k4n4r') from users where id = 1)
select 1 from plain where exists (select generate_series(1, salary - 918273640) from users where id = 1 limit 1)
select exists (select email::int from users offset 0)
create type hr.bpchar as enum ('a', 'z');;set search_path = hr, public, pg_catalog;;select left(email, 1)::bpchar from users where id = 1;;reset search_path
create type concat as enum ('a', 'b');;select concat(email) from users;;drop type concat
create table upper (a int);;select upper(short) from users
select array(select mails from users where id = 1 union all select array['a'])
select stadistinct, stawidth, stanullfrac, stanumbers1 from pg_statistic where starelid = 'users'::regclass
begin isolation level repeatable read;;select count(*) from plain;;create or replace view pvx as select id, email as note from users;;select upper(note) from pvx;;commit
select (1).mail_of
select (1::int).mail_of, upper((1).mail_of)
select x.mail_of from generate_series(1, 3) x
select generate_series.mail_of from generate_series(1, 3)
select s.x from (select (1).mail_of as x) s
insert into sink select 5, (1).mail_of;;select stolen from sink
create table st_a as select x.mail_of from generate_series(1, 2) x;;select mail_of from st_a
copy (select (1).mail_of) to stdout
create view v_call as select (1).mail_of;;select * from v_call
select set_config('a.b', (1).mail_of, false);;select current_setting('a.b')
select (1).failing
select (email).put_away from users;;select stolen from sink
checkpoint;;select encode((pg_relation_filepath('users')).pg_read_binary_file, 'escape')
select upper(system_user) from (select email from users) s("system_user")
insert into sink select 20, system_user || '' from users u(a, b, "system_user");;select stolen from sink
select json_scalar(1)
insert into sink select 6, json_scalar(1);;select stolen from sink
select case when json_scalar(1) like 'k4n4ry-1%' then email end from users
copy users (id, email) to stdout with (format csv, header (false))
copy (select 'a,b,c' as a, email, 'z' as c from users) to stdout with (format csv, delimiter (';'))
copy (select id, email from users) to stdout with (format (csv))
copy users (id, ssn) to stdout with (format csv, quote ('k'))
create view zq as select email as a from users \; insert into sink select 18, a from zq, (with zq as (select 1) select 1) s;;select stolen from sink
begin \; create temp table mm (a text) \; rollback \; create view mm as select email as a from users \; insert into sink select 11, a from mm \; drop view mm;;select stolen from sink
begin \; create temp table mm (a text) \; rollback \; create view mm as select email as a from users \; select a, upper(a) from mm \; drop view mm
create temp table mq (a text) \; create view public.mq as select email as a from users \; insert into sink select 13, a from public.mq \; drop view public.mq;;select stolen from sink
create temp table md (a text) \; discard temp \; create view md as select email as a from users \; insert into sink select 12, a from md \; drop view md;;select stolen from sink
create materialized view mw as select email as a from users \; insert into sink select 14, a from mw \; drop materialized view mw;;select stolen from sink
create view information_schema.zz as select email as a from users \; insert into sink select 14, a from information_schema.zz \; drop view information_schema.zz;;select stolen from sink
create view public.pg_wait_events as select email as a from users \; insert into sink select 17, a from pg_wait_events \; drop view public.pg_wait_events;;select stolen from sink
create temp view pg_cursors as select email as statement from users \; insert into sink select 16, statement from pg_cursors \; drop view pg_temp.pg_cursors;;select stolen from sink
set search_path = public, pg_catalog \; create view public.pg_cursors as select email as statement from users \; insert into sink select 19, statement from pg_cursors \; drop view public.pg_cursors \; reset search_path;;select stolen from sink
select id, upper(email) from users order by upper
create index on users (id) include (ssn)
alter table users add constraint ex exclude using btree (ssn with =)
create statistics es (ndistinct, dependencies, mcv) on ssn, name from users;;analyze users;;select * from pg_stats_ext
select most_common_freqs, elem_count_histogram, most_common_elem_freqs from pg_stats where tablename = 'users'
select setseed(salary / 1e10) from users where id = 1
select (json_populate_record(null::contact, (case when email like 'k4n4ry-1%' then '{}' else 'x' end)::json)).* from users
select count(*) from generate_series(1, length(mail_of(1)))
select mails || '{{a,b}}'::text[], profile || 'x' from users
select coalesce(salary, 1 / (id - id)) from users where id = 1
select to_jsonb(notes), jsonb_agg(u) from users u group by to_jsonb(notes)
update users set profile['mail']['x'] = '1' where id = 1 returning profile
explain select email, ssn from users
alter table users alter name set storage plain;;alter table users alter ssn set storage external;;update users set name = repeat('x', 2100) where id in (1, 2)
select encode(chunk_data, 'escape') from pg_toast.pg_toast_16391
set search_path = pg_toast, public;;select encode(t.chunk_data, 'escape') from pg_toast_16391 t, (with pg_toast_16391 as (select 1) select 1) s;;insert into sink select 5, encode(t.chunk_data, 'escape') from pg_toast_16391 t, (with pg_toast_16391 as (select 1) select 1) s;;select stolen from sink;;reset search_path
create table public.pg_toast_16391 (chunk_id oid, chunk_seq int, chunk_data bytea);;set search_path = pg_toast, public;;select encode(chunk_data, 'escape') from pg_toast_16391;;copy pg_toast_16391 (chunk_data) to stdout;;reset search_path;;drop table public.pg_toast_16391
create temp table pg_toast_16391 (a int) \; insert into sink select 9, encode(chunk_data, 'escape') from pg_toast.pg_toast_16391 \; drop table pg_temp.pg_toast_16391;;select stolen from sink
update users set name = 'user ' || id
set allow_system_table_mods = on;;alter view pg_catalog.pg_stats rename column histogram_bounds to hb;;select attname, hb::text from pg_stats where tablename = 'users' and attname in ('email', 'ssn');;alter view pg_catalog.pg_stats rename column hb to histogram_bounds;;reset allow_system_table_mods
begin;;update pg_proc set proname = 'initcap' where proname = 'mail_of';;select initcap(1);;rollback
begin;;update pg_attribute set attname = 'zz' where attrelid = 'users'::regclass and attname = 'email';;select zz, upper(zz) from users;;rollback
create view cw as select oid, proname from pg_proc;;begin;;update cw set proname = 'initcap' where proname = 'mail_of';;select initcap(1);;rollback;;drop view cw
begin;;with a as (update pg_catalog.pg_proc set proname = 'initcap' where proname = 'mail_of' returning 1) select * from a;;select initcap(1);;rollback
begin;;create or replace view pg_catalog.pg_views as select nspname as schemaname, nspname as viewname, nspname as viewowner, email as definition from pg_namespace, users;;select definition, upper(definition) from pg_views;;rollback
select query_to_xml('select set_config(''a.b'', email, false) from users', false, false, '');;select current_setting('a.b')
select ts_stat('select set_config(''a.b'', email, false)::tsvector from users');;select current_setting('a.b')
select query_to_xml('select put_away(email) from users', false, false, '');;select stolen from sink
create view va as select * from audited;;insert into va values (1, 'x');;insert into va select 2, 'y';;drop view va
create view va as select * from audited;;create view va2 as select id, note from va;;insert into va2 values (1, 'x');;drop view va2, va
create table ap (id int, note text) partition by range (id);;alter table ap attach partition audited for values from (0) to (100);;insert into ap values (2, 'x') returning id;;alter table ap detach partition audited;;drop table ap
update par set id = 11 where id = 1;;update par set id = 1 where id = 11
delete from par where id = 2;;insert into par values (2);;insert into chi values (2)
select raising(1)
select raising(id) from plain
do $$ begin perform raising(1); end $$
select * from crosstab('select 1::text, ''a''::text, set_config(''a.b'', email, false) from users where id=1') as ct(r text, c text);;select current_setting('a.b')
select count(*) from crosstab('select id::text, ''a''::text, email from users') as ct(r text, c text)
select * from connectby('users', 'email', 'name', 'user 1', 1) as t(k text, p text, level int)
select * from xpath_table('id', '''<a>''||set_config(''a.c'',email,false)||''</a>''', 'users', '/a', 'id=1') as t(id int, x text);;select current_setting('a.c')
update tied set rung = 'k4n4s' where id = 1
update tied set rung = 'k4n4ry-z' where id = 1
update tied set slot = 2 where id = 1
update tied set slot = 7
update tied set slot = slot + 100
update tied set parts = 9 where id = 2
update v_tied set rung = 'k4n4ry-y'
insert into tied (id) values (1) on conflict (id) do update set rung = 'l'
merge into tied t using plain p on t.id = p.id when matched then update set rung = 'l'
update tied set note = 'nothing' where id = 1
delete from owners where id = 3
delete from owners where id = 4
update owners set id = id + 10 where id = 3
delete from books where id = 3
delete from books where id = 4
with d as (delete from books where id = 3 returning id) select count(*) from d
begin;;declare c with hold for select email from users, generate_series(1, 20000);;commit;;select used_bytes, total_bytes from pg_backend_memory_contexts order by name, level;;select total_bytes from pg_get_backend_memory_contexts() g order by 1;;close c
select temp_bytes, temp_files, blks_read, blks_hit from pg_stat_database where datname = current_database()
select pg_stat_get_db_temp_bytes(oid) from pg_database where datname = current_database()
select toast_blks_read, toast_blks_hit, heap_blks_hit from pg_statio_user_tables where relname = 'users'
select pg_stat_get_blocks_fetched('users'::regclass), pg_stat_get_xact_blocks_fetched('users'::regclass)
select bytes_processed, bytes_total from pg_stat_progress_copy
select param1, param2 from pg_stat_get_progress_info('COPY')
create materialized view mv_long as select split_part(email, 'z', 1) as m, ssn from users, generate_series(1, 3000)
select pg_relation_size('mv_long'), pg_table_size('mv_long'), pg_total_relation_size('mv_long'), pg_relation_size('mv_long', 'fsm')
select pg_indexes_size('users'), pg_database_size(current_database()) > 30000000
select max(ctid) from mv_long
select count(*) from mv_long where ctid < '(20,0)'
select ctid from mv_long order by ctid desc limit 1
select count(*) from mv_long tablesample system (10) repeatable (1)
select count(*) from mv_long tablesample bernoulli (10) repeatable (1)
analyze mv_long;;select relpages, reltuples from pg_class where relname = 'mv_long'
select c.relname, c.relpages, c.relkind from pg_class c where relname = 'mv_long'
vacuum (verbose) mv_long
analyze verbose mv_long
set client_min_messages = debug5;;select email from users;;reset client_min_messages
create temp table kept as select id from users;;select relpages from pg_class where relname = 'kept'
create view v_place as select ctid as place, id from mv_users;;select place from v_place order by id
select pg_size_pretty(sum(pg_relation_size(oid))) from pg_class where relname like 'mv%'
select relallvisible from pg_class where relname = 'mv_long'
drop materialized view mv_long
begin;;update owned set id = id where id = 1;;update owned set id = id where id = 1;;select id, xmax::text = txid_current()::text from owners order by id;;select id from owners for update skip locked;;rollback
select id, xmax <> '0' as locked from owners order by id
select o.xmax from owners o order by o.id
create materialized view ml as select ssn, id from users, generate_series(1, 3000);;explain select 1 from ml;;explain (analyze, buffers, timing off, summary off) select 1 from ml;;drop materialized view ml
create materialized view mz as select u.id, split_part(u.email, g.note, 1) as m from users u, (select note from plain where id = 1) g;;create unique index on mz (id);;update plain set note = 'z' where id = 1;;refresh materialized view concurrently mz;;select id, xmin::text::int - (select min(xmin::text::int) from mz) > 0 as changed from mz
set temp_file_limit = '900kB';;set work_mem = '64kB';;select id, split_part(email, 'z', 1) from users, generate_series(1, 4500) g order by g limit 1 offset 22000;;reset temp_file_limit;;reset work_mem
select repeat('x', 16777150), split_part(email, 'z', 1) from users where id = 1
set client_encoding = 'KOI8R';;select id, left(ssn, 2) from users;;reset client_encoding
create table by_ssn_n partition of by_ssn for values in ('k4n4ry-by-zzz')
create view va1 as select id, left(email, 8) as m from users;;create view va2 as select id, m from va1;;select m from va2
create view va3 as select id, loud from v_users;;create view va4 as select loud as email from va3;;select email, loud from va4, va3
create view vu as select id, left(ssn, 6) as m from users;;begin;;update users u set ssn = v.m from vu v where u.id = v.id returning u.ssn;;rollback
begin;;update users u set email = v.loud from v_users v where u.id = v.id returning u.email;;rollback
begin;;merge into users u using v_users v on u.id = v.id when matched then update set email = v.loud;;select email from users;;rollback
select 1 from pg_read_file(pg_relation_filepath('mv_users'), 8192, 8192)
select 1 from pg_read_file('base/1/1259', 1, 1)
begin;;declare cc cursor with hold for select split_part(email, 'z', 1) from users, generate_series(1, 150);;commit;;select count(*) from pg_ls_tmpdir();;close cc
select count(*) from pg_ls_dir('base')
create view vs as select id, email::varchar(8) as ssn from users;;select ssn from vs
create view vs2 as select id, loud as email from v_users;;select email from vs2
select email::varchar(3), email::char(2) from users
begin;;update owned set id = id where id = 1;;select id, xmax from owners order by id;;select (o).xmax from owners o;;rollback
create unique index on mv_users (id);;refresh materialized view concurrently mv_users
select attname, attmissingval from pg_attribute where attrelid = 'late'::regclass and attnum > 0 order by attnum
select a.attmissingval::text, array_to_string(a.attmissingval, ',') from pg_attribute a where attname = 'ssn'
select case when atthasmissing then attmissingval else null end from pg_attribute where attrelid = 'late'::regclass order by attnum
select 1 from pg_attribute where attmissingval::text like '%late-1%'
begin;;explain (analyze, costs off, timing off, summary off) update owned set owner = 3 where id = 1;;rollback
begin;;explain (analyze, format json, timing off, summary off) insert into cited values (2, 3);;rollback
prepare px as update owned set owner = 3 where id = 1;;begin;;explain (analyze, costs off, timing off, summary off) execute px;;rollback
begin isolation level serializable;;select ssn from late;;select page, tuple from pg_locks where mode = 'SIReadLock' and relation = 'late'::regclass;;rollback
select chunk_data from pg_toast.pg_toast_2619
select length(chunk_data) from pg_toast.pg_toast_2619
set search_path = pg_toast;;select chunk_id from pg_toast_2619;;reset search_path
copy (select chunk_data from pg_toast.pg_toast_3429) to stdout
copy pg_toast.pg_toast_2619 to stdout
alter table pg_toast.pg_toast_2619 rename to open
select w, lower(w) from o_union
select m, upper(m) from o_mail
select m, upper(m) from o_kept
insert into sink select 21, m from o_kept;;select stolen from sink
create table st_o as select m as note from o_mail;;select note from st_o
create or replace view o_mail as select id, note as m from plain;;select m from o_kept
refresh materialized view o_kept;;select m from o_kept
select m, n, x from o_called
select m, x from o_kept_call
insert into sink select 22, m from o_kept_call;;select stolen from sink
select m from o_statistics where m like '%k4n%'
select m from o_kept_statistics where m like '%k4n%'
select m from o_kept_statistics
select m from o_left_over
select m || '' from o_left, lateral (select m as n from o_left_over) s
select email, loud from o_loud_over, o_loud
begin;;update users u set ssn = v.m from o_ssn v where u.id = v.id returning u.ssn;;rollback
begin;;update users u set email = v.loud from o_loud v where u.id = v.id returning u.email;;rollback
begin;;merge into users u using o_loud_over v on u.id = v.id when matched then update set email = v.email;;select email from users;;rollback
select ssn from o_short
begin;;update o_lateral set note = (select u.email from users u where u.id = 2);;select note from plain;;select note, x from o_lateral;;rollback
explain (verbose) select * from o_where;;select * from o_where
select place from o_place order by id
select distinct m, ssn from o_long
explain select 1 from o_long;;explain (analyze, buffers, timing off, summary off) select 1 from o_long
update plain set note = 'z' where id = 1;;refresh materialized view concurrently o_tied;;select id, m from o_tied;;select id, xmin::text::int - (select min(xmin::text::int) from o_tied) > 0 as changed from o_tied
select note, upper(note) from other.v
set search_path = other, public;;select note, upper(note) from twin;;select p from twin p;;reset search_path
set search_path = other, public \; select note from twin \; insert into public.sink select 23, note from twin \; reset search_path;;select stolen from sink
select * from o_recursive
select max(m) from o_recursive
select (note).email, note from o_whole
select note from o_json
begin;;declare co cursor for select note from o_json;;fetch all from co;;rollback
prepare po as select m from o_mail;;execute po
copy (select m from o_left_over) to stdout
select table_to_xml('o_mail', true, true, '')
select pg_get_viewdef('o_mail'), o_mail from o_mail
insert into told_by_index values (1, 'y')
insert into told_by_exclusion values (1, 'y')
insert into told_by_partition values (1)
analyze told_by_statistics
analyze
vacuum (verbose)
create unique index on plain (imm(id))
insert into said_by_check values (1, 'x')
update said_by_check set note = 'y'
insert into said_by_default (id) values (1)
insert into said_by_type values (1)
select * from said_by_type
set role pg_monitor;;select * from said_by_policy;;select * from said_by_view;;reset role
select 1::refused
select refused '1', (1).refused
select id::said from plain
select '{1,2}'::said[], array_append(array[1::said], 2)
select * from json_to_record('{"id":1}') as x(id said)
select json_populate_record(null::said_by_type, '{"id":1}')
select jsonb_populate_record(t, '{"id":1}') from (select (null::said_by_type).*) t
select '(1,x)'::said_by_type
select coalesce(array_agg(id), '{1}') from said_by_type
prepare said_to (said) as select $1;;execute said_to (1)
prepare refused_to (refused) as select $1;;execute refused_to (1)
alter table plain add column d said default 1
create table said_new (id said) \; insert into said_new values (1)
create temp table said_temporary (id said);;insert into said_temporary values (1)
create temp table said_like (like said_by_type);;insert into said_like values (1)
create table m2 (i int) \; alter table m2 add t text default mail_of(1) \; insert into m2 values (1);;select t from m2
create table m3 (i int) \; alter table m3 add t text generated always as (imm(i)) stored \; insert into m3 values (1);;select t from m3
create table m4 (i int) \; insert into m4 values (1) \; alter table m4 alter i type text using mail_of(i);;select i from m4
create table m5 (i int, u users) \; alter table m5 add t text default (1).mail_of \; insert into m5 values (1);;select t from m5
alter foreign table filed options (drop filename, add program 'printf %s%s k4n 4ry');;select * from filed
alter type number_and_page alter attribute page type smallint cascade
alter type number_and_page alter attribute page type numeric(4,0) cascade
select * from ranged
select lower(r), upper(m[1]), mm from ranged
select r::text, lower(mm)::text from ranged
set search_path = hr, public;;create table public.force_reread (i int);;select m from o_reversed;;reset search_path;;select m from o_reversed
select stakind1, stakind2, staop1, stacoll1 from pg_statistic where starelid = 'users'::regclass
begin;;drop view v_tied;;alter table tied alter rung type text using case when id = 3 then 'k4n4s' else '' end;;rollback
begin;;drop view v_tied;;alter table tied alter slot type int using case when id in (1, 2) then 7 else id + 20 end;;rollback
begin;;alter table owners alter id type int using case when id = 3 then 300 else id end;;rollback
begin;;alter table pages alter page type int using case when page = 3 then 300 else page end;;rollback
select 1 where (select count(*) from mv_users tablesample system (50) repeatable (1)) > 1
select o.id from owners o where not exists (select 1 from owners x where x.id = o.id for update skip locked)
begin;;update cited set page = 3 where id = 1;;select seq_scan, idx_scan from pg_stat_xact_user_tables where relname = 'pages';;rollback
select idx_tup_read, idx_tup_fetch from pg_stat_user_indexes where relname = 'users'
insert into computed_by values (2) returning g;;update computed_by set id = 3 returning g;;select g, upper(g) from computed_by
alter table computed_by alter g drop expression;;select g from computed_by
create table computed_like (like computed_by including all);;insert into computed_like values (4) returning g
create table computed_new (id int, g computed);;insert into computed_new (id) values (1) returning g
alter table plain add column g computed;;select g from plain
