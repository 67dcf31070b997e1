select id, name from users order by id
select count(*) from users
select id, upper(name), length(name) from users where id < 3 order by id
select u.id, o.item from users u join orders o on o.user_id = u.id order by o.id
select name as email from users order by id
select id, email from plain order by id
select * from plain order by id
select upper(p.email) from plain p, users u where u.id = p.id order by p.id
select o.*, u.name from orders o, users u where o.user_id = u.id order by o.id
select id, size from v_users order by id
select day, who from events
select sum(price), avg(price), min(item) from orders
with o as (select * from orders where id > 2) select count(*) from o
select x, y from (select id as x, name as y from users) s where x = 2
update orders set price = price + 0 where id = 1 returning id, price
update users set name = name where id = 2 returning id, name
insert into plain values (3, 'p@example.com', 'x') returning *
delete from plain where id = 3 returning note
select 1, 'a', now() is not null, null::int
show server_version_num
explain select id from users where id = 1
select relname from pg_class where relname = 'users'
select table_name from information_schema.tables where table_name = 'plain'
select no_such_column from users
select * from no_such_table
select 1 / 0
select 'x'::int
copy (select id, name from users order by id) to stdout
copy plain to stdout with (format csv, header)
copy (select * from orders order by id) to stdout with (format binary)
begin \; select id from users where id = 1 \; commit
select array_agg(id order by id), json_agg(name order by id) from users
values (1, 'a'), (2, 'b')
select generate_series(1, 3), id from users where id = 1
