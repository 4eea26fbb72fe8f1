# The foreign systems that fhir-bridge is tested against. `make peers` installs what is missing;
# it is quick when nothing changed. Nothing here is shipped, and nothing is downloaded by a test.
PEERS_HERE := tests/peers
PEERS_OUT := build/peers
PEERS_PYTHON ?= python3
PEERS_NODE := $(PEERS_HERE)/node/node_modules/.package-lock.json
PEERS_SEKMET := $(PEERS_OUT)/sekmet/.installed
PEERS_VALIDATOR := $(PEERS_OUT)/validator/.installed
PEERS_HAPI := $(PEERS_OUT)/hapi/.installed
PEERS_DEBIAN := orthanc orthanc-dicomweb dcmtk chromium postgresql dicom3tools poppler-utils
# Tools that build or run a peer, and the Debian package of each. Only looked for by name of the command.
PEERS_TOOLS := node:nodejs npm:npm javac:openjdk-17-jdk-headless mvn:maven setpriv:util-linux

.PHONY: peers peers-debian peers-lock

peers: peers-debian  ## install the real foreign systems that the peer tests use
	@$(MAKE) --no-print-directory -f $(PEERS_HERE)/peers.mk $(PEERS_NODE) $(PEERS_SEKMET) $(PEERS_VALIDATOR) $(PEERS_HAPI)
	@echo "Peers are ready."

# While a package is installed, policy-rc.d keeps Debian from starting its service (Orthanc on ports
# 8042 and 4242, PostgreSQL on 5432): the tests start their own on free ports.
peers-debian:
	@missing=""; \
	for package in $(PEERS_DEBIAN); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	for tool in $(PEERS_TOOLS); do \
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	test -n "$$missing" || exit 0; \
	if ! command -v apt-get >/dev/null || test "$$(id -u)" != 0; then \
	  echo "Missing:$$missing. Mend it with (as root, on Debian): apt-get install -y$$missing"; exit 7; \
	fi; \
	echo "Installing Debian packages:$$missing ..."; \
	policy=/usr/sbin/policy-rc.d; \
	if ! test -e $$policy; then \
	  trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
	  printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 755 $$policy; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null

$(PEERS_NODE): $(PEERS_HERE)/node/package.json $(PEERS_HERE)/node/package-lock.json $(PEERS_HERE)/node/.npmrc
	@echo "Installing the Node peers (Medplum, asymmetrik, oidc-provider, the specification's examples) ..."
	@cd $(PEERS_HERE)/node && npm ci --silent --ignore-scripts
	@touch $@

$(PEERS_SEKMET): $(PEERS_HERE)/sekmet.lock
	@echo "Installing the Python peers (sekmet-fhir, fhirkit-rs) ..."
	@$(PEERS_PYTHON) -m venv --clear $(PEERS_OUT)/sekmet
	@$(PEERS_OUT)/sekmet/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(PEERS_VALIDATOR): $(PEERS_HERE)/validator/pom.xml $(PEERS_HERE)/validator/Validator.java
	@echo "Building the HAPI FHIR validator ..."
	@rm -rf $(PEERS_OUT)/validator && mkdir -p $(PEERS_OUT)/validator
	@mvn -B -q -l $(PEERS_OUT)/validator/maven.log -f $< dependency:copy-dependencies -DincludeScope=runtime \
	  -DoutputDirectory=$(CURDIR)/$(PEERS_OUT)/validator/lib >/dev/null || { cat $(PEERS_OUT)/validator/maven.log; exit 1; }
	@javac -Xlint:all,-processing,-path -cp '$(PEERS_OUT)/validator/lib/*' -d $(PEERS_OUT)/validator/classes $(PEERS_HERE)/validator/Validator.java
	@touch $@

$(PEERS_HAPI): $(PEERS_HERE)/hapi/pom.xml $(PEERS_HERE)/hapi/HapiServer.java
	@echo "Building the HAPI FHIR JPA server ..."
	@rm -rf $(PEERS_OUT)/hapi && mkdir -p $(PEERS_OUT)/hapi
	@mvn -B -q -l $(PEERS_OUT)/hapi/maven.log -f $< dependency:copy-dependencies -DincludeScope=runtime \
	  -DoutputDirectory=$(CURDIR)/$(PEERS_OUT)/hapi/lib >/dev/null || { cat $(PEERS_OUT)/hapi/maven.log; exit 1; }
	@javac -Xlint:all,-processing,-path,-classfile -proc:none -cp '$(PEERS_OUT)/hapi/lib/*' -d $(PEERS_OUT)/hapi/classes $(PEERS_HERE)/hapi/HapiServer.java
	@touch $@

peers-lock:  ## rewrite the locks of the peers (needs uv)
	$(PEERS_PYTHON) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header $(PEERS_HERE)/sekmet.in -o $(PEERS_HERE)/sekmet.lock
	cd $(PEERS_HERE)/node && npm install --package-lock-only --silent
	@# Whom a package asks money for is none of our business, and `npm ci` does not need it.
	node -e 'const fs = require("fs"), f = "$(PEERS_HERE)/node/package-lock.json", lock = JSON.parse(fs.readFileSync(f)); for (const p of Object.values(lock.packages)) delete p.funding; fs.writeFileSync(f, JSON.stringify(lock, null, 2) + "\n")'
