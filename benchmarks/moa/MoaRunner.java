import com.yahoo.labs.samoa.instances.Attribute;
import com.yahoo.labs.samoa.instances.DenseInstance;
import com.yahoo.labs.samoa.instances.Instance;
import com.yahoo.labs.samoa.instances.Instances;
import com.yahoo.labs.samoa.instances.InstancesHeader;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import moa.classifiers.Classifier;
import moa.core.Utils;
import moa.options.ClassOption;

/**
 * Tests, then trains, a MOA classifier on rows that are in memory before the clock starts.
 *
 * <p>Arguments: the classifier as MOA's command line has it; the file, rows of little-endian doubles
 * with the class (0 or 1) last; for each feature how many categories it has, 0 for a number. Each
 * line that it reads starts a round, which prints one: CPU seconds of this thread (what the JVM
 * compiles and collects beside it is not counted), and the share that was right.
 */
public final class MoaRunner {
  public static void main(String[] arguments) throws Exception {
    String[] categories = arguments[2].split(",");
    int width = categories.length;
    InstancesHeader header = header(categories);
    List<Instance> rows = rows(Path.of(arguments[1]), header, width);
    BufferedReader turns = new BufferedReader(new InputStreamReader(System.in));
    while (turns.readLine() != null) {
      Classifier learner =
          (Classifier) ClassOption.cliStringToObject(arguments[0], Classifier.class, null);
      learner.setModelContext(header);
      learner.prepareForUse();
      int right = 0;
      long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
      for (Instance row : rows) {
        if (Utils.maxIndex(learner.getVotesForInstance(row)) == (int) row.classValue()) {
          right++;
        }
        learner.trainOnInstance(row);
      }
      long took = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start;
      System.out.println(took / 1e9 + " " + (double) right / rows.size());
    }
  }

  private static InstancesHeader header(String[] categories) {
    List<Attribute> attributes = new ArrayList<>();
    for (int i = 0; i < categories.length; i++) {
      int n = Integer.parseInt(categories[i]);
      attributes.add(n == 0 ? new Attribute("f" + i) : new Attribute("f" + i, names(n)));
    }
    attributes.add(new Attribute("class", names(2)));
    Instances instances = new Instances("rows", attributes, 0);
    instances.setClassIndex(categories.length);
    return new InstancesHeader(instances);
  }

  private static List<String> names(int n) {
    List<String> names = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      names.add("c" + i);
    }
    return names;
  }

  private static List<Instance> rows(Path file, InstancesHeader header, int width)
      throws Exception {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    List<Instance> rows = new ArrayList<>();
    while (bytes.hasRemaining()) {
      double[] values = new double[width + 1];
      for (int i = 0; i <= width; i++) {
        values[i] = bytes.getDouble();
      }
      Instance row = new DenseInstance(1.0, values);
      row.setDataset(header);
      rows.add(row);
    }
    return rows;
  }
}
