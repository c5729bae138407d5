# What a package's Makefile needs of OpenWrt's include/package.mk. In place of
# the rest, the target `metadata` writes down what the Makefile says about its
# packages: in the folder METADATA a file PACKAGES with their names, and for each
# package a folder with one file per variable. `prepare` and `install-NAME` fill
# PKG_BUILD_DIR and ROOT by the Makefile's own instructions.

METADATA_VARIABLES := PKG_NAME PKG_VERSION PKG_RELEASE PKG_SOURCE PKG_SOURCE_URL PKG_HASH \
	PKG_BUILD_DEPENDS PKG_BUILD_FLAGS GO_PKG_BUILD_PKG GO_PKG_LDFLAGS_X \
	SECTION CATEGORY SUBMENU TITLE URL DEPENDS PROVIDES ALTERNATIVES USERID \
	VERSION MAINTAINER LICENSE LICENSE_FILES PKGARCH
METADATA_TEXTS := description conffiles postinst prerm postrm
# What OpenWrt knows too, and nobody here has needed yet.
UNKNOWN_VARIABLES := CONFLICTS EXTRA_DEPENDS ABI_VERSION VARIANT DEFAULT_VARIANT
UNKNOWN_TEXTS := preinst

# A package's variables before its own definition sets them, so that it inherits
# nothing from the package before it.
define Package/Default
  $(foreach name,SECTION CATEGORY SUBMENU TITLE URL DEPENDS PROVIDES ALTERNATIVES USERID PKGARCH $(UNKNOWN_VARIABLES),$(eval $(name):=))
  VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)
  MAINTAINER:=$(PKG_MAINTAINER)
  LICENSE:=$(PKG_LICENSE)
  LICENSE_FILES:=$(PKG_LICENSE_FILES)
endef

define BuildPackage
  $(eval $(Package/Default))
  $(eval $(Package/$(1)))
  $(foreach name,$(UNKNOWN_VARIABLES),$(if $($(name)),$(error $(1): $(name) is not known here)))
  $(foreach name,$(UNKNOWN_TEXTS),$(if $(Package/$(1)/$(name)),$(error $(1): $(name) is not known here)))
  $(if $(METADATA),$(call WriteMetadata,$(1)))
  $(eval $(call BuildTargets,$(1)))
endef

define WriteMetadata
  $(shell mkdir -p $(METADATA)/$(1))
  $(file >>$(METADATA)/PACKAGES,$(1))
  $(foreach name,$(METADATA_VARIABLES),$(file >$(METADATA)/$(1)/$(name),$($(name))))
  $(foreach name,$(METADATA_TEXTS),$(if $(Package/$(1)/$(name)),$(file >$(METADATA)/$(1)/$(name),$(Package/$(1)/$(name)))))
endef

# As in OpenWrt, the instructions are expanded here, while the Makefile is read
# and nothing is built yet, and once more when they run.
define BuildTargets
.PHONY: metadata prepare install-$(1)

metadata:

ifndef PREPARE_TARGET
PREPARE_TARGET := 1
prepare:
	$(Build/Prepare)
endif

install-$(1):
	$(call Package/$(1)/install,$$(ROOT))
endef
