-- Every masked field holds the k4n4ry, in a form that its type takes.
create schema hr;
create domain address as text check (value <> '');
create type contact as (label text, mail text);
create table users (
  id int primary key,
  name text not null,
  email text not null unique,
  ssn text,
  salary int not null,
  born date,
  secret_id uuid,
  profile jsonb,
  notes json,
  mails text[],
  home address,
  reach contact,
  raw bytea,
  short varchar(4),
  score numeric(20,3),
  seen timestamptz,
  email_lower text generated always as (lower(email)) stored
);
insert into users
select n, 'user ' || n, 'k4n4ry-' || n || '@example.com', 'k4n4ry-ssn-' || n, 918273640 + n,
       '1987-06-05', ('c0ffee00-c0ff-4ee0-8c0f-' || lpad(n::text, 12, '0'))::uuid,
       jsonb_build_object('mail', 'k4n4ry-' || n), json_build_object('mail', 'k4n4ry-' || n),
       array['k4n4ry-' || n, 'k4n4ry-too'], 'k4n4ry street ' || n, row('home', 'k4n4ry-' || n)::contact,
       convert_to('k4n4ry-raw', 'UTF8'), 'k4n4', 918273645.123, '1987-06-05 04:03:02+00'
from generate_series(1, 5) n;
create table orders (id int primary key, user_id int references users, item text, price numeric);
insert into orders select n, n, 'item ' || n, n * 10 from generate_series(1, 5) n;
create table teams (id int, lead users, members users[]);
insert into teams select 1, u, array[u] from users u where id = 1;
create table events (day date, who text, email text) partition by range (day);
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
insert into events values ('2026-05-05', 'user 1', 'k4n4ry-event@example.com');
create table people (id int, email text);
create table staff (badge int) inherits (people);
insert into staff values (1, 'k4n4ry-staff@example.com', 7);
create table hr.people_private (id int, "E-mail" text, ssn text);
insert into hr.people_private values (1, 'k4n4ry-hr', 'k4n4ry-hr-ssn');
create table plain (id int, email text, note text);
insert into plain values (1, 'open@example.com', 'nothing'), (2, 'open2@example.com', 'to see');
create table sink (id int, stolen text);
create view v_users as select id, name, email as contact_mail, upper(email) as loud, length(name) as size from users;
create view v_deep as select v.id, v.contact_mail || '' as m, v.loud, o.item from v_users v join orders o on o.user_id = v.id;
create view v_whole as select u from users u;
create view v_json as select row_to_json(u) as j, count(*) over () as n from users u;
create view v_union as select id, email from users union all select id, email from plain;
create materialized view mv_users as select id, email as m, name from users;
create function mail_of(i int) returns text language sql stable as 'select email from users where id = i';
create function all_users() returns setof users language sql stable as 'select * from users';
create function shout(t text) returns text language plpgsql as $$ begin raise notice 'shout %', t; return upper(t); end $$;
create function failing(i int) returns int language plpgsql as $$ declare m text; begin select email into m from users where id = i; raise exception 'it is %', m using detail = m, hint = m; end $$;
create function put_away(t text) returns void language sql as 'insert into sink values (1, t)';
create function counted() returns bigint language sql stable as 'select count(*) from users';
create procedure p_mail(inout m text) language plpgsql as $$ begin select email into m from users where id = 1; end $$;
create function secret_of(c pg_class) returns text language sql stable as 'select email from users where id = 1';
create function imm(i int) returns text language sql immutable as 'select email from users where id = i';
create function "json_scalar"(i int) returns text language sql stable as 'select email from users where id = i';
create table audited (id int, note text);
create function audit() returns trigger language plpgsql as $$ begin raise notice 'seen %', (select email from users limit 1); return new; end $$;
create trigger audit before insert on audited for each row execute function audit();
create table par (id int primary key);
insert into par select generate_series(1, 5);
create table chi (id int references par on update cascade on delete cascade);
insert into chi select generate_series(1, 5);
create trigger audit_chi before update or delete on chi for each row execute function audit();
create function raising(i int) returns int language plpgsql as $$ declare m text; begin select email into m from users where id = i; raise exception 'x' using column = m, constraint = m, datatype = m, table = m, schema = m; end $$;
alter table users add constraint grown check (salary > 0);
-- What is looked at together with a masked column when it is written.
create table tied (id int primary key, mail text, rung text, slot int, parts int, note text,
  check (mail > rung), unique (mail, slot),
  half int generated always as (parts / (length(mail) - 30)) stored);
insert into tied select n, 'k4n4ry-' || n, '', n, 0, 'tied' from generate_series(1, 5) n;
create unique index on tied ((left(mail, 6)), (slot % 100));
create view v_tied as select id, rung, slot, note from tied;
create table owners (id int primary key, note text);
insert into owners select n, 'owner' from generate_series(1, 5) n;
create table owned (id int, owner int references owners on delete restrict);
insert into owned values (1, 3);
create table books (id int primary key, label text);
insert into books select n, 'book' from generate_series(1, 5) n;
create table pages (book int references books on delete cascade, page int unique);
insert into pages select n, n from generate_series(1, 5) n;
create table cited (id int, page int references pages (page));
insert into cited values (1, 3);
create table by_ssn (id int, ssn text) partition by list (ssn);
create table by_ssn_rest partition of by_ssn default;
insert into by_ssn values (1, 'k4n4ry-by-ssn');
create table late (id int);
insert into late values (1), (2);
alter table late add ssn text default 'k4n4ry-late-1';
alter table late alter ssn drop default;
create extension if not exists tablefunc;
create extension if not exists xml2;
-- What somebody without the mask has defined. No session with it could; it is read in them.
create view o_union as select upper(v) as w from (select note as v from plain union all select email from users) s;
create view o_mail as select id, email as m from users;
create materialized view o_kept as select id, m from o_mail;
create view o_called as select mail_of(1) as m, (1).mail_of as n, 'x'::text as x;
create materialized view o_kept_call as select m, x from o_called;
create view o_statistics as select most_common_vals::text as m from pg_stats;
create materialized view o_kept_statistics as select m from o_statistics;
create view o_left as select id, left(email, 8) as m from users;
create view o_left_over as select id, m from o_left;
create view o_loud as select id, loud from v_users;
create view o_loud_over as select id, loud as email from o_loud;
create view o_ssn as select id, left(ssn, 6) as m from users;
create view o_short as select id, email::varchar(8) as ssn from users;
create view o_lateral as select p.a as id, p.c as note, (select max(e) from (select email as e from users) s) as x from plain p(a, b, c);
create view o_where as select id, name from users where name = imm(1);
create view o_place as select ctid as place, id from mv_users;
create materialized view o_long as select split_part(email, 'z', 1) as m, ssn, id from users, generate_series(1, 3000);
create materialized view o_tied as select u.id, split_part(u.email, g.note, 1) as m from users u, (select note from plain where id = 1) g;
create unique index on o_tied (id);
create table twin (id int, note text);
insert into twin values (1, 'open');
create schema other create view v as select email as note from users create view twin as select id, email as note from users;
create view o_recursive as with recursive r(n, m) as (select 1, email from users where id = 1 union all select n + 1, m || '!' from r where n < 3) select * from r;
create view o_whole as select u as note from users u;
create view o_json as select json_agg(u) -> 0 ->> 'email' as note from users u;
-- Functions of somebody's own that are called without being named: by what is checked, defaulted, indexed or
-- partitioned by, by a policy for rows, and by a type.
create function says(i int) returns boolean language plpgsql immutable as $$ begin raise notice 'it is %', (select email from public.users where id = i); return true; end $$;
create function refuses(i int) returns boolean language plpgsql immutable as $$ begin raise exception 'it is %', (select email from public.users where id = i); end $$;
create domain said as int check (says(value));
create domain refused as int check (refuses(value));
create table said_by_check (id int check (says(id)), note text);
create table said_by_default (id int, ok boolean default says(2));
create table said_by_type (id said, note text);
create table said_by_policy (id int, note text);
insert into said_by_policy values (1, 'x');
alter table said_by_policy enable row level security;
create policy says on said_by_policy using (says(id));
create view said_by_view with (security_barrier) as select id from said_by_policy;
create table told_by_index (id int, note text);
create unique index on told_by_index (imm(id));
create table told_by_exclusion (id int, note text, exclude using btree (imm(id) with =));
insert into told_by_index values (1, 'x');
insert into told_by_exclusion values (1, 'x');
create table told_by_partition (id int) partition by list (imm(id));
create table told_by_statistics (id int);
insert into told_by_statistics select generate_series(1, 5);
create statistics told on (says(id)), id from told_by_statistics;
create table computed_by (id int, g text generated always as (imm(id)) stored);
insert into computed_by values (1);
create domain computed as text default imm(2);
-- Rows of others in ranges; a type that tables are of; a file that a table is of.
create type people_range as range (subtype = hr.people_private);
create table ranged (id int, r people_range, m people_range[], mm people_multirange);
insert into ranged select 1, people_range(p, p, '[]'), array[people_range(p, p, '[]')], people_multirange(people_range(p, p, '[]')) from hr.people_private p;
create type number_and_page as (id int, page int);
create table of_type of number_and_page;
insert into of_type select n, 30000 + n from generate_series(1, 5) n;
create extension if not exists file_fdw;
create server files foreign data wrapper file_fdw;
create foreign table filed (line text) server files options (filename '/dev/null');
-- What a session's search path leaves the schema of out.
create function hr.reverse(i int) returns text language sql stable as 'select email from public.users where id = i';
create view o_reversed as select id, hr.reverse(id) as m from plain;
analyze;
grant all on all tables in schema public, hr, other to public;
grant usage on schema hr, other to public;
create type plain_color as enum ('red', 'green');
create type plain_pair as (a int, b text, c numeric[]);
