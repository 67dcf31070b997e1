// Asks every statement of a file by JDBC, each until it is prepared and binary, and prints what it gets.
import java.nio.file.*;
import java.sql.*;

public class Attack {
    static int number = 1;

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            for (String line : Files.readAllLines(Path.of(arguments[1]))) {
                System.out.println("statement " + number++); ask(connection, line.replace("\\;", ";"));
            }
        }
        System.out.println("done");
    }

    static void ask(Connection connection, String sql) throws Exception {
        if (sql.startsWith("copy")) {
            try {
                var copy = connection.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
                var out = new java.io.ByteArrayOutputStream();
                copy.copyOut(sql, out);
                System.out.println( out.toString("ISO-8859-1"));
            } catch (SQLException error) {
                System.out.println( error.getMessage());
            }
            return;
        }
        // From the fifth time on it is a named statement, and its values are binary.
        for (int time = 0; time < 7; time++) {
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                boolean rows = statement.execute();
                StringBuilder seen = new StringBuilder("rows:");
                while (rows || statement.getUpdateCount() != -1) {
                    if (rows) {
                        ResultSet result = statement.getResultSet();
                        while (result.next()) {
                            for (int column = 1; column <= result.getMetaData().getColumnCount(); column++) {
                                seen.append(" ").append(result.getString(column));
                            }
                        }
                    }
                    rows = statement.getMoreResults();
                }
                for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
                    seen.append(" warning ").append(warning.getMessage());
                }
                System.out.println(seen);
            } catch (SQLException error) {
                System.out.println( error.getMessage());
                try (Statement rollback = connection.createStatement()) {
                    rollback.execute("rollback");
                }
            }
        }
    }
}
