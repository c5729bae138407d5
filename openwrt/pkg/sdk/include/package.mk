# What a package's Makefile needs of OpenWrt's include/package.mk, and in place
# of the rest: what it says about the package, one file per variable in the
# folder METADATA, and the targets `prepare` and `install`, which fill
# PKG_BUILD_DIR and ROOT by its own instructions.

METADATA_VARIABLES := PKG_NAME PKG_VERSION PKG_RELEASE PKG_MAINTAINER PKG_LICENSE \
	PKG_LICENSE_FILES PKG_SOURCE PKG_SOURCE_URL PKG_HASH PKG_BUILD_DEPENDS PKG_BUILD_FLAGS \
	GO_PKG_BUILD_PKG GO_PKG_LDFLAGS_X SECTION CATEGORY SUBMENU TITLE URL DEPENDS
METADATA_TEXTS := description conffiles postinst prerm

define BuildPackage
  $(eval $(Package/$(1)))
  $(if $(Package/$(1)/preinst)$(Package/$(1)/postrm),$(error preinst and postrm are not known here))
  $(foreach name,$(METADATA_VARIABLES),$(file >$(METADATA)/$(name),$($(name))))
  $(foreach name,$(METADATA_TEXTS),$(if $(Package/$(1)/$(name)),$(file >$(METADATA)/$(name),$(Package/$(1)/$(name)))))
  $(eval $(call BuildTargets,$(1)))
endef

# As in OpenWrt, the instructions are expanded here, while the Makefile is read
# and nothing is built yet, and once more when they run.
define BuildTargets
.PHONY: metadata prepare install

metadata:

prepare:
	$(Build/Prepare)

install:
	$(call Package/$(1)/install,$$(ROOT))
endef
