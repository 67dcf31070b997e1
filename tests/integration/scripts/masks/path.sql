create schema secret;
create table people (name text);
insert into people values ('somebody');
create table secret.people (name text);
insert into secret.people values ('k4n4ry');
create role of_secret superuser login;
alter role of_secret set search_path = secret;
