# What a package's Makefile needs of the packages feed's golang-package.mk. The
# program is already built, in the folder GO_PKG_BUILD_BIN_DIR.

GO_ARCH_DEPENDS := @(aarch64||arm||i386||i686||loongarch64||mips||mips64||mips64el||mipsel||riscv64||x86_64)
GO_PKG_INSTALL_BIN_PATH ?= /usr/bin

define GoPackage/Package/Install/Bin
	$(INSTALL_DIR) $(1)$(GO_PKG_INSTALL_BIN_PATH)
	$(INSTALL_BIN) $(GO_PKG_BUILD_BIN_DIR)/* $(1)$(GO_PKG_INSTALL_BIN_PATH)/
endef

define GoBinPackage
  ifndef Package/$(1)/install
    Package/$(1)/install=$$(call GoPackage/Package/Install/Bin,$$(1))
  endif
endef
