import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.DaoRegistry;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.DatabaseBinaryContentStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.rest.server.ApacheProxyAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import jakarta.persistence.EntityManagerFactory;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;
import org.springframework.transaction.annotation.EnableTransactionManagement;

/**
 * The HAPI FHIR JPA server, R4, with H2 in memory: java HapiServer 8107. Its base is /fhir; it is
 * open, and its links name the proxy in front of it (X-Forwarded-Host) if there is one. It says one
 * line when it is ready, and asks nothing of the network.
 */
public final class HapiServer {
  /** With all 148 types the first CapabilityStatement takes 8 s instead of 1 s. */
  private static final List<String> TYPES =
      List.of(
          "Account", "AllergyIntolerance", "Appointment", "Binary", "CarePlan", "CareTeam",
          "Condition", "Contract", "Coverage", "DetectedIssue", "Device", "DeviceDefinition",
          "DeviceMetric", "DiagnosticReport", "DocumentReference", "Encounter", "Endpoint", "EpisodeOfCare", "Goal",
          "Group", "ImagingStudy", "Immunization", "Location", "Media", "Medication",
          "MedicationRequest", "MolecularSequence", "Observation", "Organization", "Patient",
          "PlanDefinition", "Practitioner", "PractitionerRole", "Procedure", "Provenance",
          "Questionnaire", "QuestionnaireResponse", "RelatedPerson", "SearchParameter", "ServiceRequest", "Specimen", "Substance", "Task");

  public static void main(String[] arguments) throws Exception {
    ApplicationContext context = new AnnotationConfigApplicationContext(Wiring.class);
    Server jetty = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
    ServletContextHandler web = new ServletContextHandler();
    web.addServlet(new ServletHolder(fhirServer(context)), "/fhir/*");
    jetty.setHandler(web);
    jetty.start();
    System.out.println("HAPI FHIR is ready");
  }

  private static RestfulServer fhirServer(ApplicationContext context) {
    context.getBean(DaoRegistry.class).setSupportedResourceTypes(TYPES);
    RestfulServer server = new RestfulServer(context.getBean(FhirContext.class));
    server.registerProviders(context.getBean(ResourceProviderFactory.class).createProviders());
    server.registerProvider(context.getBean(IJpaSystemProvider.class));
    server.setPagingProvider(context.getBean(DatabaseBackedPagingProvider.class));
    server.setServerAddressStrategy(ApacheProxyAddressStrategy.forHttp());
    return server;
  }

  /** What HAPI leaves to the one who deploys it: the database and the settings. */
  @Configuration
  @EnableTransactionManagement
  @Import({
    JpaR4Config.class,
    HapiJpaConfig.class,
    JpaBatch2Config.class,
    Batch2JobsConfig.class,
    SubscriptionChannelConfig.class,
    ThreadPoolFactoryConfig.class
  })
  static class Wiring {
    @Bean
    DataSource dataSource() {
      BasicDataSource source = new BasicDataSource();
      source.setDriver(new org.h2.Driver());
      source.setUrl("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1");
      source.setMaxTotal(32);
      return source;
    }

    @Bean
    LocalContainerEntityManagerFactoryBean entityManagerFactory(
        DataSource source,
        ConfigurableListableBeanFactory beans,
        FhirContext fhir,
        JpaStorageSettings settings) {
      LocalContainerEntityManagerFactoryBean factory =
          HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
      factory.setPersistenceUnitName("HAPI_PU");
      factory.setDataSource(source);
      Properties hibernate = new Properties();
      hibernate.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
      hibernate.put("hibernate.hbm2ddl.auto", "update");
      hibernate.put("hibernate.search.enabled", "false");
      factory.setJpaProperties(hibernate);
      return factory;
    }

    @Bean
    JpaTransactionManager transactionManager(EntityManagerFactory factory) {
      return new JpaTransactionManager(factory);
    }

    /** Ids are the loader's, and a record may refer to one that this hospital does not have. */
    @Bean
    JpaStorageSettings storageSettings() {
      JpaStorageSettings settings = new JpaStorageSettings();
      settings.setResourceClientIdStrategy(JpaStorageSettings.ClientIdStrategyEnum.ANY);
      settings.setEnforceReferentialIntegrityOnWrite(false);
      settings.setAllowExternalReferences(true);
      settings.setSchedulingDisabled(true);
      return settings;
    }

    @Bean
    PartitionSettings partitionSettings() {
      return new PartitionSettings();
    }

    @Bean
    SubscriptionSettings subscriptionSettings() {
      return new SubscriptionSettings();
    }

    @Bean
    IBinaryStorageSvc binaryStorage() {
      return new DatabaseBinaryContentStorageSvcImpl();
    }
  }
}
