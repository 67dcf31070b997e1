// What a Java program sees of PostgreSQL: simple, prepared, batched, copied, cancelled.
import java.io.*;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;

public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        for (int at = 1; at + 1 < arguments.length; at += 2) {
            properties.setProperty(arguments[at], arguments[at + 1]);
        }
        try (Connection connection = DriverManager.getConnection(arguments[0], properties)) {
            see(connection);
        }
        System.out.println("done");
    }

    static void see(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temp table t (id int primary key, name text, at timestamptz)");
            try (ResultSet rows = statement.executeQuery("select 1 as one, 'zwei' as two")) {
                rows.next();
                System.out.println(rows.getInt("one") + " " + rows.getString("two"));
            }
            try {
                statement.execute("select 1/0");
            } catch (SQLException error) {
                System.out.println(error.getSQLState() + " " + error.getMessage());
            }
        }
        // Five times the same: named on the server from then on, and binary.
        try (PreparedStatement insert = connection.prepareStatement("insert into t values (?, ?, now())")) {
            for (int id = 0; id < 20; id++) {
                insert.setInt(1, id);
                insert.setString(2, "n" + id);
                insert.executeUpdate();
            }
        }
        try (PreparedStatement batch = connection.prepareStatement("update t set name = ? where id = ?")) {
            for (int id = 0; id < 1000; id++) {
                batch.setString(1, "b" + id);
                batch.setInt(2, id);
                batch.addBatch();
            }
            int changed = 0;
            for (int count : batch.executeBatch()) {
                changed += count;
            }
            System.out.println("changed " + changed);
        }
        connection.setAutoCommit(false);
        try (PreparedStatement select = connection.prepareStatement("select id, name from t order by id")) {
            // By a portal, seven rows at a time.
            select.setFetchSize(7);
            try (ResultSet rows = select.executeQuery()) {
                StringBuilder seen = new StringBuilder();
                while (rows.next()) {
                    seen.append(rows.getInt(1)).append(rows.getString(2)).append(' ');
                }
                System.out.println(seen);
            }
        }
        Savepoint savepoint = connection.setSavepoint();
        try (Statement statement = connection.createStatement()) {
            statement.execute("select * from no_such_table");
        } catch (SQLException error) {
            System.out.println(error.getSQLState());
        }
        connection.rollback(savepoint);
        connection.commit();
        connection.setAutoCommit(true);
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int id = 100; id < 5100; id++) {
            lines.append(id).append("\tcopied\t\\N\n");
        }
        System.out.println("in " + copy.copyIn("copy t from stdin", new StringReader(lines.toString())));
        StringWriter out = new StringWriter();
        System.out.println("out " + copy.copyOut("copy (select * from t where id >= 100 order by id) to stdout", out));
        System.out.println(out.toString().equals(lines.toString()));
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.execute("select pg_sleep(60)");
        } catch (SQLException error) {
            System.out.println(error.getSQLState());
        }
        try (CallableStatement call = connection.prepareCall("{ ? = call upper(?) }")) {
            call.registerOutParameter(1, Types.VARCHAR);
            call.setString(2, "called");
            call.execute();
            System.out.println(call.getString(1));
        }
        DatabaseMetaData data = connection.getMetaData();
        try (ResultSet columns = data.getColumns(null, null, "t", null)) {
            while (columns.next()) {
                System.out.println(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
            }
        }
    }
}
