create schema secret;
create table people (name text);
insert into people values ('somebody');
create table secret.people (name text);
insert into secret.people values ('k4n4ry');
create role of_secret superuser login;
alter role of_secret set search_path = secret;
create role secret superuser login;
create role other superuser login;
create role as_secret superuser login;
alter role as_secret set role = secret;
create function public.runs(c refcursor) returns int language plpgsql as
  'declare r record; begin fetch c into r; return 1; end';
create function public.makes_settings() returns int language plpgsql as $$ begin
  execute 'create temp table pg_settings (name text collate public.ci)';
  insert into pg_temp.pg_settings values ('Search_Path'); return 1; end $$;
create procedure public.commits() language plpgsql as 'begin commit; end';
create procedure public.commits_and_fails() language plpgsql as 'begin commit; raise exception ''no''; end';
