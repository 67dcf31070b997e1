create view sets_strings as select set_config('standard_conforming_strings', 'off', false) as a;
create view sets_for_now as select set_config('standard_conforming_strings', 'on', true) as a;
create view sets_encoding as select set_config('client_encoding', 'SJIS', false) as a;
create table sets_by_default (i int, a text default set_config('standard_conforming_strings', 'off', false));
create table sets_late (i int);
create function set_strings() returns trigger language plpgsql as
  $$ begin perform set_config('standard_conforming_strings', 'off', false); return null; end $$;
create constraint trigger late after insert on sets_late deferrable initially deferred
  for each row execute function set_strings();
grant all on all tables in schema public to public;
