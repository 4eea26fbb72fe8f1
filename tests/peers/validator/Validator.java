import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationResult;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r4.model.CodeSystem;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * The HAPI FHIR R4 instance validator as a line server: reads one file path a line, answers one
 * JSON line {"file", "errors": [{"severity", "location", "message"}], "warnings": n}, so that many
 * documents are judged with one start of the JVM. It asks nothing of the network.
 */
public final class Validator {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String DICOM_CODES = "http://dicom.nema.org/resources/ontology/DCM";

  /** The modalities of PS3.16 CID 33 that R4's copy of DICOM's codes, of 2015, does not have. */
  private static final String[] LATER_MODALITIES = {
    "ASMT", "CFM", "CTPROTOCOL", "DMS", "DOC", "EEG", "EMG", "EOG", "FID", "IOL", "M3D", "OPTBSV",
    "OPTENF", "PA", "PLAN", "POS", "RESP", "RWV", "STAIN", "TEXTUREMAP"
  };

  public static void main(String[] arguments) throws IOException {
    // Standard output belongs to the answers: whatever a library prints goes to standard error.
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    FhirValidator validator = validator(FhirContext.forR4());
    answers.println("{\"ready\":true}");
    BufferedReader questions =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String file = questions.readLine(); file != null; file = questions.readLine()) {
      answers.println(JSON.writeValueAsString(judge(validator, file)));
    }
  }

  /** No remote terminology: a code of a system we do not hold (LOINC, SNOMED CT) is a warning. */
  private static FhirValidator validator(FhirContext context) {
    ValidationSupportChain chain =
        new ValidationSupportChain(
            ValidationSupportChain.CacheConfiguration.defaultValues(),
            definitions(context),
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context));
    FhirInstanceValidator instances = new FhirInstanceValidator(chain);
    instances.setAnyExtensionsAllowed(true);
    instances.setErrorForUnknownProfiles(false);
    instances.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    return context.newValidator().registerValidatorModule(instances);
  }

  private static DefaultProfileValidationSupport definitions(FhirContext context) {
    DefaultProfileValidationSupport definitions = new DefaultProfileValidationSupport(context);
    CodeSystem dicom = (CodeSystem) definitions.fetchCodeSystem(DICOM_CODES);
    for (String modality : LATER_MODALITIES) {
      dicom.addConcept().setCode(modality);
    }
    return definitions;
  }

  private static ObjectNode judge(FhirValidator validator, String file) {
    ObjectNode answer = JSON.createObjectNode().put("file", file);
    ArrayNode errors = answer.putArray("errors");
    int warnings = 0;
    try {
      ValidationResult result = validator.validateWithResult(Files.readString(Path.of(file)));
      for (SingleValidationMessage said : result.getMessages()) {
        boolean error = said.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal();
        if (error) {
          add(errors, said.getSeverity().getCode(), said.getLocationString(), said.getMessage());
        } else if (said.getSeverity() == ResultSeverityEnum.WARNING) {
          warnings++;
        }
      }
    } catch (IOException | RuntimeException broken) {
      add(errors, "fatal", "", broken.toString());
    }
    return answer.put("warnings", warnings);
  }

  private static void add(ArrayNode errors, String severity, String location, String message) {
    errors.addObject().put("severity", severity).put("location", location).put("message", message);
  }
}
